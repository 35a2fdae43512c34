"""One worker: takes pieces of the table until all are done or its time is over, and leaves lines of JSON.

The first questions of every point come first, then the searches, each with its snapshots, then the other questions:
whenever it stops, what is there is as useful as it can be.
"""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eos_platform.benchmark.make.asked import BLOCK, QUESTIONS, Asked
from eos_platform.benchmark.make.searches import snapshots
from eos_platform.benchmark.make.shards import Claims, Line, Shard, read
from eos_platform.benchmark.operators import digest
from eos_platform.benchmark.space import FAMILIES, Config, Space
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.run import SearchDiverged

PIECE = 32  # points that are taken at once
SEARCH = 25.0  # seconds that must be left for a search to begin
ANSWERS, SEARCHED = "answers", "searched"
Key = tuple[str, tuple[int, ...], int]  # model, coordinates, steps of a search (0: none)


@dataclass
class Worker:
    """What a worker is told.

    Attributes:
        models: bundled ones, in the order of work.
        device: where they are asked.
        folder: of the shards.
        name: of this worker; no two have the same.
        run: of all workers together.
        seconds: after which nothing more is begun.
        families: to do.
        questions: the first so many held-out ones.
        every: of the points, take one in so many.
        say: is told in lines how far it is.
    """

    models: Sequence[str]
    device: str
    folder: Path
    name: str
    run: str
    seconds: float
    families: tuple[str, ...] = FAMILIES
    questions: int = QUESTIONS
    every: int = 1
    say: Callable[[str], None] = lambda line: None
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.claims, self.asked = Claims(self.run), dict[str, Asked]()
        self.done = {(key_of(line), int(line["block"])) for line in read(self.folder, ANSWERS)}
        self.shard = Shard(self.folder, ANSWERS, self.name)
        self.count = 0

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (time.monotonic() - self.begun)

    def of(self, model: str) -> Asked:
        """A model with its questions, loaded when it is first needed."""
        if model not in self.asked:
            self.asked[model] = Asked(model, self.device, self.questions)
        return self.asked[model]

    def run_all(self) -> int:
        """Work; the number of blocks of questions asked."""
        for block in range(self.blocks):
            for model in self.models:
                self._unreduced(model, block)
                self._points(model, block)
            if block == 0 and "searched" in self.families:
                self._searches()
        return self.count

    @property
    def blocks(self) -> int:
        """Of questions."""
        return -(-self.questions // BLOCK)

    def _unreduced(self, model: str, block: int) -> None:
        if ((model, (), 0), block) not in self.done and self.claims.take(f"{model}-{block}-unreduced"):
            self.shard.add([self._line(model, (), 0, None, block)])

    def _points(self, model: str, block: int) -> None:
        points = self._all_points(model)
        for start in range(0, len(points), PIECE):
            if self.left <= 0:
                return
            some = points[start : start + PIECE]
            missing = [one for one in some if ((model, one[1], 0), block) not in self.done]
            if missing and self.claims.take(f"{model}-{block}-{start}"):
                self._ask(model, missing, block)
                self.say(f"{self.name}: {model}, questions {block * BLOCK} on, point {start} of {len(points)}")

    def _all_points(self, model: str) -> list[tuple[Config, tuple[int, ...]]]:
        space = Space(self.of(model).operators.knobs)
        wanted = tuple(name for name in self.families if name != "searched")
        found = []
        for config in Space(space.designs, wanted).points() if wanted else ():
            full = space.canonical(config)
            found.append((full, space.indices(full)))
        found.sort(key=lambda one: hash_of(one[1]))  # costly ones lie anywhere: pieces are alike
        return found[:: self.every]

    def _ask(self, model: str, points: Sequence[tuple[Config, tuple[int, ...]]], block: int) -> None:
        asked, lines = self.of(model), []
        for config, at in points:
            try:
                lines.append(self._line(model, at, 0, asked.operators.of(config), block))
            except EosError as error:
                self.say(f"{self.name}: {model}, {config}: error: {error}")
            if self.left <= 0:
                break
        self.shard.add(lines)

    def _line(self, model: str, at: tuple[int, ...], steps: int, operator: OperatorSpec | None, block: int) -> Line:
        right = self.of(model).answers(operator, block)
        self.count += 1
        return {
            "model": model,
            "at": list(at),
            "steps": steps,
            "digest": digest(operator) if operator else "",
            "block": block,
            "asked": len(right),
            "right": base64.b64encode(np.packbits(right).tobytes()).decode(),
        }

    def _searches(self) -> None:
        found = {key_of(line) for line in read(self.folder, SEARCHED)}
        kept = Shard(self.folder, SEARCHED, self.name)
        for model, (number, config) in itertools.chain.from_iterable(self._rounds()):
            space = Space(self.of(model).operators.knobs)
            at = space.indices(config)
            if any(key[:2] == (model, at) for key in found) or self.left <= SEARCH:
                continue
            if not self.claims.take(f"{model}-search-{number}"):
                continue
            try:
                taken = list(snapshots(self.of(model).workload, config))
            except (EosError, SearchDiverged) as error:
                self.say(f"{self.name}: {model}, search {number}: error: {error}")
                continue
            lines = []
            for steps, operator in taken:
                lines += [self._line(model, at, steps, operator, block) for block in range(self.blocks)]
            self.shard.add(lines)
            for steps, operator in taken:
                known = {"model": model, "at": list(at), "steps": steps, "digest": digest(operator)}
                kept.add([known | {"operator": operator.to_json()}])
            self.say(f"{self.name}: {model}, search {number} done")

    def _rounds(self) -> Iterator[list[tuple[str, tuple[int, Config]]]]:
        """A search of each model in turn, so that a worker that stops early leaves both alike."""
        each = []
        for model in self.models:
            space = Space(self.of(model).operators.knobs)
            searched = Space(space.designs, ("searched",))
            each.append([(model, (n, space.canonical(point))) for n, point in enumerate(searched.points())])
        for together in zip(*each, strict=True):
            yield list(together)


def key_of(line: Line) -> Key:
    """What a line is about."""
    return str(line["model"]), tuple(map(int, line["at"])), int(line["steps"])


def hash_of(at: Sequence[int]) -> int:
    """A number that scatters coordinates, the same everywhere."""
    value = 2166136261
    for place in at:
        value = ((value ^ (place + 1)) * 16777619) & 0xFFFFFFFF
    return (value * 2654435761) & 0xFFFFFFFF
