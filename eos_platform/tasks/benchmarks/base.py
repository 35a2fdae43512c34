"""A public benchmark as a task: its rows from the official download or the hub's tables, its prompt and its score.

Official questions are for measuring: all are held out. A share of the pictures, told apart by their bytes, may be
given to searches (``search_share``); then only the others are held out.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, shown, unknown
from eos_platform.common.files import shown_path
from eos_platform.protocols import SPLITS, Example, Split
from eos_platform.tasks.benchmarks.files import Tables
from eos_platform.tasks.data.media import Source
from eos_platform.tasks.data.pictures import opened
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.data.question import Question

SEARCH_PART = 0.8  # of what searches are given; the rest chooses among them


@dataclass(frozen=True)
class Item:
    """A question of a benchmark.

    Attributes:
        id: unique.
        image: where its picture is.
        question: the whole text that is asked, without the picture's placeholder.
        answers: right ones.
        group: its category.
        choices: of multiple choice.
        facts: what its score needs besides.
    """

    id: str
    image: Source
    question: str
    answers: tuple[str, ...]
    group: str = "all"
    choices: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Benchmark(ABC):
    """A benchmark.

    Attributes:
        name: by which it is asked for.
        layout: what its root holds, in a line.
        headline: the number that tables show, of those ``summary`` gives.
        unit: of it: ``%`` of a share, or ``points``.
        most: tokens that an answer may take.
        groups: categories, in order.
    """

    name: ClassVar[str]
    layout: ClassVar[str]
    headline: ClassVar[str] = "accuracy"
    unit: ClassVar[str] = "%"
    most: ClassVar[int] = 16
    exact = False
    release: ClassVar[str] = "1"  # changes with prompts and scores

    def __init__(self, root: str | Path, part: str = "", search_share: float = 0.0) -> None:
        """Rows are read, pictures are not.

        Args:
            root: the folder that was downloaded.
            part: of the benchmark, where it has several (``testdev``); empty: the usual one.
            search_share: of the pictures that searches are given; the others are held out.

        Raises:
            EosError: no such folder, another layout, or no questions.
        """
        if isinstance(search_share, bool) or not isinstance(search_share, (int, float)) or not 0 <= search_share < 1:
            raise EosError(f"task '{self.name}': search_share: a share below 1 is expected, not {shown(search_share)}")
        self.root, self.part, self.share = Path(root), part, float(search_share)
        tables = Tables(self.root, self.name, self.layout)
        if not self.root.is_dir():
            raise tables.fault("no folder")
        with reading(f"task '{self.name}': {shown_path(self.root)} has another layout"):
            items = list(counted(f"reading {self.name}", self.read(tables)))
        if not items:
            raise EosError(f"task '{self.name}': no questions in {shown_path(root)}; it should hold {self.layout}")
        seen: set[str] = set()
        for one in items:
            if one.id in seen:
                raise EosError(f"task '{self.name}': question id {shown(one.id)} is there twice")
            seen.add(one.id)
        self.groups = tuple(dict.fromkeys(one.group for one in items))
        digest = hashlib.sha256(self.release.encode())
        self._all: list[Question] = []
        for one in items:
            digest.update(repr((one.id, one.question, one.answers, one.group)).encode("utf-8", "replace"))
            self._all.append(self._question(one))
        self.version = digest.hexdigest()[:16]
        self._placed: dict[Split, list[Question]] | None = None

    def _question(self, one: Item) -> Question:
        return Question(
            image=partial(opened, one.image),
            question=one.question,
            answers=one.answers,
            group=one.group,
            key=str(one.image),
            id=one.id,
            choices=one.choices,
            place=f"{self.name} {one.id}",
            most=self.most,
            facts=one.facts,
        )

    @abstractmethod
    def read(self, tables: Tables) -> Iterator[Item]:
        """The questions."""

    @abstractmethod
    def score(self, output: str, example: Example) -> float:
        """What an answer is worth by the official rules, from 0 to 1."""

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """The official numbers of some questions; by default the mean score."""
        return {"accuracy": mean(scores)}

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """The headline as a sum over strata, each a weight and its units: places of questions that count as one."""
        return [(1.0, [[place] for place in range(len(questions))])]

    def worth(self, scores: Sequence[float]) -> float:
        """What a unit is worth."""
        return mean(scores)

    @property
    def all(self) -> Sequence[Question]:
        """Every question, in order."""
        return self._all

    def examples(self, split: Split, count: int) -> list[Question]:
        """The first ``count`` questions of a split.

        Raises:
            EosError: unknown split, or one for which no pictures were set aside.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if not self.share:
            if split != "heldout":
                raise EosError(
                    f"task '{self.name}' is for measuring: it has no questions to search on; search on others, or set "
                    "pictures aside: --option search_share=0.5"
                )
            return self._all[:count]
        if self._placed is None:
            self._placed = self._parted()
        result = self._placed[split][:count]
        if not result:
            raise EosError(f"task '{self.name}': no question is in the split '{split}'; it has {len(self._all)} in all")
        return result

    def _parted(self) -> dict[Split, list[Question]]:
        """Splits by the bytes of pictures."""
        from eos_platform.tasks.data.pictures import ahead, look

        sources = {one.key: one.image.args[0] for one in self._all}
        placed: dict[Split, list[Question]] = {split: [] for split in SPLITS}
        where: dict[str, Split] = {}
        for (key, _), seen in ahead(lambda pair: look(pair[1]), sources.items()):
            if isinstance(seen, EosError):
                raise seen
            place = int.from_bytes(seen.digest[8:16], "big") / 2**64 / self.share
            where[key] = "search" if place < SEARCH_PART else "validation" if place < 1 else "heldout"
        for one in self._all:
            placed[where[one.key]].append(one)
        return placed


def gathered(questions: Sequence[Question], key: Callable[[Question], Any]) -> dict[Any, list[int]]:
    """Places of questions, by something of theirs."""
    result: dict[Any, list[int]] = {}
    for place, one in enumerate(questions):
        result.setdefault(key(one), []).append(place)
    return result


def singly(places: Sequence[int]) -> list[list[int]]:
    """Every question a unit."""
    return [[place] for place in places]


def mean(values: Sequence[float]) -> float:
    """The mean; of nothing 0."""
    return sum(values) / len(values) if values else 0.0


def by(questions: Sequence[Question], scores: Sequence[float], key: Any) -> dict[Any, list[float]]:
    """Scores, gathered by something of their questions."""
    result: dict[Any, list[float]] = {}
    for one, score in zip(questions, scores, strict=True):
        result.setdefault(key(one), []).append(float(score))
    return result
