"""One model through the plan: asked unreduced, held against published scores, searched, asked with every operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from eos_platform.analysis.benchmark.run import UNREDUCED, Asked, run
from eos_platform.analysis.benchmark.store import model_hash
from eos_platform.analysis.benchmark.table import rows_of
from eos_platform.analysis.experiments.record.plan import Plan
from eos_platform.analysis.experiments.record.searching import Searches
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic
from eos_platform.models.adapters.target import check_fits, parts_of, target_of
from eos_platform.models.loading.opening import opening
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Task
from eos_platform.tasks.answers.generate import load_pair
from eos_platform.tasks.benchmarks.base import Benchmark
from eos_platform.tasks.chats import published
from eos_platform.tasks.choice import open_task

DOWNSAMPLE = "downsample"
Notify = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What is known of a model when the command ends.

    Attributes:
        model: its name in the plan.
        checked: of each benchmark with a published score: measured, published, within, whether it is near enough.
        rows: of the tables, by benchmark and operator (``analysis.benchmark.table``).
        missing: what was not run, and why.
    """

    model: str
    checked: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether the unreduced model answers as published, wherever that could be asked."""
        return bool(self.checked) and all(one["near"] for one in self.checked)


class Record:
    """One model of a plan."""

    def __init__(
        self,
        plan: Plan,
        model: str,
        folder: str,
        root: Path,
        out: Path,
        *,
        batch: int = 16,
        limit: int | None = None,
        device: str | None = None,
        say: Say = print,
        notify: Notify | None = None,
    ) -> None:
        """Load the model, and open those of its benchmarks that are there.

        Args:
            plan: what is to be measured.
            model: its name in the plan.
            folder: of its weights, or a bundled model's name.
            root: holds a folder for each benchmark, and what is searched on.
            out: where answers, operators and tables go.
            batch: questions at a time.
            limit: questions of each benchmark, at most, for a try.
            device: where to run.
            say: is told what is done and what is left out.
            notify: see ``analysis.benchmark.run``.

        Raises:
            EosError: no such model, or a benchmark's folder of another layout.
        """
        self.plan, self.name, self.of, self.out = plan, model, plan.models[model], out / model
        self.root, self.batch, self.limit, self.say, self.notify = root, batch, limit, say, notify
        self.outcome = Outcome(model)
        self.tasks: list[Benchmark] = []
        for name in self.of.benchmarks:
            if not (root / name).is_dir():
                self.outcome.missing[name] = f"no download: {root / name}"
                continue
            part = plan.part(model, name)
            opened = open_task({"name": name, "root": str(root / name), **({"part": part} if part else {})})
            assert isinstance(opened, Benchmark)
            self.tasks.append(opened)
        if not self.tasks:
            raise EosError(f"{model}: none of its benchmarks is in {root}; --dry-run lists them")
        self.out.mkdir(parents=True, exist_ok=True)
        self.model, processor = load_pair(folder, device)
        self.processor = published(processor, self.of.chat or None)
        if self.of.visual_tokens:
            fix_size(self.processor, self.of.visual_tokens)
        with opening(folder) as path:
            self.about: dict[str, Any] = {
                "model": model_hash(Path(path)),
                "dtype": str(self.model.dtype),
                "chat": self.of.chat,
            }
        self.about["visual_tokens"] = self.of.visual_tokens

    def ask(self, operators: Mapping[str, OperatorSpec]) -> list[Asked]:
        """Every benchmark, unreduced and with these operators; what was answered before is not asked again."""
        asked: list[Asked] = []
        for task in self.tasks:
            limits = [one for one in (self.plan.benchmarks[task.name].limit, self.limit) if one is not None]
            asked += run(
                self.model,
                self.processor,
                [cast(Task, task)],
                operators,
                self.out / "answers",
                about=self.about,
                limit=min(limits, default=None),
                batch=self.batch,
                notify=self.notify,
            )
        return asked

    def check(self) -> None:
        """Hold the unreduced model's scores against the published ones, before anything else is asked."""
        for asked in self.ask({}):
            name = asked.task.name
            known = self.of.published.get(name)
            (row,) = rows_of(asked)
            if known is not None:
                near = abs(row["value"] - known.value) <= known.within
                facts = {"task": name, "measured": row["value"], "low": row["low"], "high": row["high"]}
                facts |= {"published": known.value, "within": known.within, "near": near, "questions": row["questions"]}
                self.outcome.checked.append(facts)
        write_atomic(self.out / "check.json", strict_json.dumps(strict_json.plain(self.outcome.checked), indent=2))

    def operators(self) -> dict[str, OperatorSpec]:
        """Every design and what is searched, at every number of tokens; each a file, so that nothing is made twice."""
        found: dict[str, OperatorSpec] = {}
        target, parts = target_of(self.model, self.name), parts_of(self.model)
        searches = Searches(self.plan, self.model, self.processor, self.name, self.root, self.out, self.tasks, self.say)
        if searches.target is not None:
            target = searches.target
        for tokens in self.plan.tokens:
            if tokens >= target.tokens:
                self.outcome.missing[f"{tokens} tokens"] = f"the model has {target.tokens} visual tokens in all"
                continue
            try:
                found[f"searched-{tokens}"] = searches.operator(tokens)
            except EosError as error:
                self.outcome.missing[f"searched-{tokens}"] = str(error)
            for name in self.plan.designs:
                if name == DOWNSAMPLE and self.of.visual_tokens:
                    continue  # its processor does that (``_smaller``)
                try:
                    operator = get_design(name).build(target, tokens)
                    check_fits(parts, operator)
                except EosError as error:
                    self.outcome.missing[f"{name}-{tokens}"] = str(error)
                    continue
                found[f"{name}-{tokens}"] = operator
        for name, operator in found.items():
            operator.save(self.out / "operators" / f"{name}.json")
        return found

    def measure(self) -> Outcome:
        """The tables' rows, with every operator."""
        for asked in self.ask(self.operators()):
            if DOWNSAMPLE in self.plan.designs and self.of.visual_tokens:
                asked = self._smaller(asked)
            self.outcome.rows += rows_of(asked)
        return self.outcome

    def _smaller(self, asked: Asked) -> Asked:
        """The same, and the unreduced model on pictures that its processor makes of fewer tokens."""
        assert self.of.visual_tokens is not None
        scores, texts = dict(asked.scores), dict(asked.texts)
        for tokens in (one for one in self.plan.tokens if one < self.of.visual_tokens):
            fix_size(self.processor, tokens)
            try:
                (small,) = run(
                    self.model,
                    self.processor,
                    [asked.task],
                    {},
                    self.out / f"answers-{DOWNSAMPLE}-{tokens}",
                    about={**self.about, "visual_tokens": tokens},
                    limit=len(asked.questions),
                    batch=self.batch,
                    notify=self.notify,
                )
            finally:
                fix_size(self.processor, self.of.visual_tokens)
            name = f"{DOWNSAMPLE}-{tokens}"
            scores[name], texts[name] = small.scores[UNREDUCED], small.texts[UNREDUCED]
        return Asked(asked.task, asked.questions, scores, texts)


def fix_size(processor: Any, tokens: int) -> None:
    """Have a processor of the Qwen kind resize every picture to about so many visual tokens.

    Raises:
        EosError: it is of another kind.
    """
    images = processor.image_processor
    size, patch, merge = (getattr(images, name, None) for name in ("size", "patch_size", "merge_size"))
    if not isinstance(patch, int) or not isinstance(merge, int) or size is None:
        raise EosError(f"visual_tokens: {type(images).__name__} does not resize to a number of pixels")
    pixels = tokens * (patch * merge) ** 2
    images.size = {"shortest_edge": pixels, "longest_edge": pixels}
    for name in ("min_pixels", "max_pixels"):
        if hasattr(images, name):
            setattr(images, name, pixels)


def of_tokens(rows: Sequence[Mapping[str, Any]], tokens: int) -> list[Mapping[str, Any]]:
    """Rows of operators at a number of tokens, and the unreduced model's."""
    return [row for row in rows if row["operator"] == UNREDUCED or row["operator"].endswith(f"-{tokens}")]
