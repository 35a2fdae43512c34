"""Operators searched for a record: on data of its own, without any picture that a benchmark asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from eos_platform.analysis.experiments.record.plan import Plan
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.protocols import Example, Split
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import find
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.benchmarks.base import Benchmark
from eos_platform.tasks.data.pictures import ahead, look
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.files import Files

COST = "mean_tokens"


class Without:
    """A task less the questions about some pictures.

    Attributes:
        left_out: how many questions that are.
    """

    distils = False

    def __init__(self, task: Files, pictures: frozenset[str]) -> None:
        self._task, self._pictures = task, pictures
        self.name, self.version, self.groups, self.exact = task.name, f"{task.version}-record", task.groups, task.exact
        self.distils, self.max_tokens = task.distils, task.max_tokens
        every = [one for split in ("search", "validation", "heldout") for one in task.all(split)]
        self.left_out = sum(self._shows(one) for one in every)

    def _shows(self, one: Example) -> bool:
        return any(part in self._pictures for part in one.key.split("-"))

    def examples(self, split: Split, count: int) -> list[Example]:
        """The first ``count`` questions of a split about other pictures."""
        return list(islice((one for one in self._task.all(split) if not self._shows(one)), count))

    def score(self, output: str, example: Example) -> float:
        """As the task's."""
        return self._task.score(output, example)


def pictures_of(tasks: Iterable[Benchmark]) -> frozenset[str]:
    """The SHA-256 of every picture that benchmarks ask about, in hexadecimal.

    Raises:
        EosError: one cannot be read.
    """
    sources = {source for task in tasks for one in task.all for source in one.image.args}
    found = set()
    for _, seen in counted("pictures of the benchmarks", ahead(look, sources), len(sources)):
        if isinstance(seen, EosError):
            raise seen
        found.add(seen.digest.hex())
    return frozenset(found)


class Searches:
    """Searches of one model.

    Attributes:
        target: what operators refer to, as the data's pictures have it; None: there is no data.
    """

    def __init__(
        self,
        plan: Plan,
        model: Any,
        processor: Any,
        name: str,
        root: Path,
        out: Path,
        tasks: Sequence[Benchmark],
        say: Callable[[str], None],
    ) -> None:
        self.plan, self.out = plan, out
        self.target: Target | None = None
        self._subject: Subject | None = None
        self.data = root / plan.search.folder / plan.search.data
        if not self.data.exists():
            return
        rows = Files(self.data, allow_bad=1.0, rows=plan.search.rows)
        kept = Without(rows, pictures_of(tasks))
        say(
            f"{name}: searching on {rows.loaded.total - len(rows.bad) - kept.left_out:,} rows of {self.data}; "
            f"{kept.left_out:,} are about pictures of a benchmark and left out, {len(rows.bad):,} cannot be used"
        )
        self._subject = load_workload(model, kept, processor=processor)
        self.target = self._subject.target

    def operator(self, tokens: int) -> OperatorSpec:
        """The one for a mean of so many visual tokens: from its file, or searched now.

        Raises:
            EosError: there is no data, or no operator of so few tokens.
        """
        path = self.out / "operators" / f"searched-{tokens}.json"
        if path.exists():
            return OperatorSpec.load(path)
        if self._subject is None:
            raise EosError(f"not searched: no data: {self.data}")
        settings = self.plan.search
        config = SearchConfig.of(
            {
                "cost": COST,
                "budget": float(tokens),
                "steps": settings.steps,
                "batch_size": settings.batch_size,
                "search_questions": settings.questions,
                "eval_questions": settings.validation,
                "portfolio": settings.portfolio,
            },
            "search",
        )
        result = find(self._subject, config, checkpoint=self.out / "searches" / str(tokens))
        result.operator.save(path)
        return result.operator
