"""OperatorBench: asks a table as one would ask a model on a GPU."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eos_platform.benchmark.space import FAMILIES, Config, Space
from eos_platform.benchmark.table import COSTS, ModelTable, load, metadata, unpacked
from eos_platform.common.errors import EosError, expected, unknown
from eos_platform.protocols import Objective

if TYPE_CHECKING:
    from eos_platform.operators.spec import OperatorSpec

MODEL = "bundled-small"
WITHOUT_GRADIENTS = ("composed", "design")  # families whose points cost nothing but questions
DEFAULT = ("error", "compute_ratio")
MOST_IS_BEST = ("accuracy",)


@dataclass(frozen=True)
class Answer:
    """What one query gives.

    Attributes:
        values: of the objectives by name, in the order they were asked for; NaN where a time was not measured.
        questions: that the accuracy is of.
        steps: of the gradient search that found the operator; 0: none.
        cost: what it would have taken on a model: questions run forward. A step of a search counts its questions three
            times, as it goes backward too.
        digest: of the operator; equal ones are one operator.
    """

    values: Mapping[str, float]
    questions: int
    steps: int
    cost: int
    digest: str

    def __getitem__(self, name: str) -> float:
        return self.values[name]


class OperatorBench:
    """A table of deployed operators on one bundled model.

    Every point of the space is a row: nothing is interpolated. Attributes:
        model: its name.
        questions: the most that can be asked.
        steps: of gradient searches, that can be asked for.
    """

    def __init__(
        self,
        model: str = MODEL,
        families: Sequence[str] = WITHOUT_GRADIENTS,
        path: str | Path | None = None,
    ) -> None:
        """
        Args:
            model: a bundled model that the table has.
            families: of operators that the space offers: ``composed`` of rules, published ``design``s, and those that
                a gradient search has found (``searched``), whose coordinates are the search's settings.
            path: of another table; default: the one that comes with the package.

        Raises:
            EosError: the table has no such model, or cannot be read.
        """
        if isinstance(families, str):
            raise expected("families", f"a list of {', '.join(FAMILIES)}", families)
        self._path = None if path is None else str(path)
        self._table: ModelTable = load(model, self._path)
        self._space = Space(self._table.space.designs, tuple(families))
        about = metadata(self._path)
        self.model, self.questions = model, self._table.questions
        self.steps: tuple[int, ...] = tuple(about["steps"])
        self._volumes: dict[tuple[str, ...], float] = {}  # of the whole space
        self._batch = int(about["search"]["batch_size"])

    def __repr__(self) -> str:
        return (
            f"OperatorBench: {len(self)} operators of {self.model} ({', '.join(self._space.families)}), "
            f"{self.questions} questions of {self._table.about['task']}"
        )

    def __len__(self) -> int:
        """How many points the space has."""
        return len(self._rows)

    @staticmethod
    def models(path: str | Path | None = None) -> tuple[str, ...]:
        """The models of a table."""
        return tuple(metadata(path)["models"])

    def space(self) -> Space:
        """The parameters, with their conditions; also as vectors."""
        return self._space

    def sample(self, rng: np.random.Generator | random.Random | None = None) -> Config:
        """A random point."""
        return self._space.sample(rng or random.Random())

    @property
    def groups(self) -> tuple[str, ...]:
        """Of the questions; ``error/GROUP`` and ``accuracy/GROUP`` are objectives too."""
        return self._table.groups

    @property
    def objectives(self) -> tuple[str, ...]:
        """All that can be asked for."""
        of_groups = (f"{kind}/{group}" for kind in ("error", "accuracy") for group in self.groups)
        return ("error", "accuracy", *COSTS, *of_groups)

    @staticmethod
    def minimised(objective: str) -> bool:
        """Whether less of it is better: so of all but accuracies."""
        return objective.split("/")[0] not in MOST_IS_BEST

    def row(self, config: Mapping[str, Any], steps: int | None = None) -> int:
        """The place of a point in the model's table.

        Raises:
            EosError: no point of the space, or steps that a search was not looked at after.
        """
        full = self._space.canonical(config)
        whole = self._table.space.indices(full)
        if full["family"] != "searched":
            return self._table.rows[whole, 0]
        steps = self.steps[-1] if steps is None else steps
        if steps not in self.steps:
            raise EosError(f"steps: {steps} is none of {', '.join(map(str, self.steps))}")
        return self._table.rows[whole, steps]

    def query(
        self,
        config: Mapping[str, Any],
        objectives: Sequence[str] = DEFAULT,
        questions: int | None = None,
        steps: int | None = None,
    ) -> Answer:
        """What a point's operator gives.

        Args:
            config: the point; parameters that do not count may be left out.
            objectives: of ``self.objectives``.
            questions: the accuracy is of the first so many, the cheap form of all; default: all.
            steps: of the gradient search, for the family ``searched``; default: all. Others have none.

        Raises:
            EosError: no point of the space, an unknown objective, or more questions than were asked.
        """
        questions = self.questions if questions is None else questions
        if isinstance(questions, bool) or not isinstance(questions, int) or not 1 <= questions <= self.questions:
            raise expected("questions", f"a whole number from 1 to {self.questions}", questions)
        if isinstance(objectives, str):
            raise expected("objectives", "a list of names", objectives)
        row = self.row(config, steps)
        searched = str(config.get("family", self._space.families[0])) == "searched"
        taken = (self.steps[-1] if steps is None else steps) if searched else 0
        values = {name: self._value(name, row, questions) for name in objectives}
        return Answer(values, questions, taken, questions + 3 * taken * self._batch, self._table.digests[row])

    def _value(self, name: str, row: int, questions: int) -> float:
        return float(self._column(name, slice(row, row + 1), questions)[0])

    def _column(self, name: str, rows: slice | NDArray[np.int64], questions: int) -> NDArray[np.float64]:
        """One objective of some rows."""
        if name in COSTS:
            return self._table.costs[name][rows]
        kind, _, group = name.partition("/")
        if kind not in ("error", "accuracy"):
            raise unknown("objective", name, self.objectives)
        right_rq = self._table.right_rq[rows, :questions]
        if group:
            if group not in self.groups:
                raise unknown("group", group, self.groups)
            right_rq = right_rq[:, self._table.group_q[:questions] == self.groups.index(group)]
        if not right_rq.shape[1]:
            return np.full(len(right_rq), np.nan)
        share_r: NDArray[np.float64] = right_rq.mean(1)
        return share_r if kind == "accuracy" else 1.0 - share_r

    def right(self, config: Mapping[str, Any], steps: int | None = None) -> NDArray[np.bool_]:
        """Which questions a point's operator answers rightly (questions,): for intervals and paired comparisons."""
        return self._table.right_rq[self.row(config, steps)].copy()

    def unreduced(self, objectives: Sequence[str] = DEFAULT) -> dict[str, float]:
        """The model without an operator; NaN for what was not measured."""
        about = self._table.about["unreduced"]
        right_q = unpacked(about["right"], self.questions)
        values = {}
        for name in objectives:
            kind, _, group = name.partition("/")
            mine_q = right_q[self._table.group_q == self.groups.index(group)] if group else right_q
            share = float(mine_q.mean())
            known = {"accuracy": share, "error": 1 - share}.get(kind)
            if known is None:
                found = about.get(name)
                known = float("nan") if found is None else float(found)
            values[name] = known
        return values

    def values(self, objectives: Sequence[str] = DEFAULT, questions: int | None = None) -> NDArray[np.float64]:
        """All points of the space at once (points, objectives), in the order of ``space().points()``; of searches, the
        whole ones."""
        count = self.questions if questions is None else questions
        return np.stack([self._column(name, self._rows, count) for name in objectives], 1)

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        """Of all points, in order."""
        return np.array([self.row(point) for point in self._space.points()])

    def hypervolume(self, points: Any, objectives: Sequence[str] = DEFAULT) -> float:
        """What some operators dominate of the objectives' plane (or room), over what all operators of the space do.

        It counts from the worst there is: an error of 1, the unreduced model's costs.

        Args:
            points: (points, objectives); of two or three objectives.

        Raises:
            EosError: of another number of objectives.
        """
        return self._dominated(points, objectives) / self._whole(tuple(objectives))

    def _whole(self, objectives: tuple[str, ...]) -> float:
        if objectives not in self._volumes:
            self._volumes[objectives] = self._dominated(self.values(objectives), objectives)
        return self._volumes[objectives]

    def _dominated(self, points: Any, objectives: Sequence[str]) -> float:
        from eos_platform.benchmark.volume import dominated

        axes = [Objective(name, "minimise" if self.minimised(name) else "maximise", name) for name in objectives]
        return dominated(points, axes, self.unreduced(objectives))

    def operator(self, config: Mapping[str, Any], steps: int | None = None) -> OperatorSpec:
        """The operator itself, to be attached to the model (needs torch).

        Raises:
            EosError: no point of the space, or one whose operator this version builds otherwise than when it was asked.
        """
        from eos_platform.benchmark.rebuilt import rebuilt

        row = self.row(config, steps)
        return rebuilt(self._table, self._table.space.canonical(self._space.canonical(config)), row)
