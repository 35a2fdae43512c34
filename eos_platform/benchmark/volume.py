"""Hypervolume of points of a table, by the platform's own (``analysis/stats/pareto.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from eos_platform.common.errors import EosError
from eos_platform.protocols import Objective


class Asked(Protocol):
    """What is read of an ``OperatorBench``."""

    def minimised(self, objective: str) -> bool: ...

    def unreduced(self, objectives: Sequence[str]) -> Mapping[str, float]: ...


def dominated(bench: Asked, points: Any, objectives: tuple[str, ...]) -> float:
    """In the objectives' own units; points with an unknown value add nothing.

    Raises:
        EosError: fewer than two objectives, more than three, or one whose worst is not known.
    """
    import pandas as pd

    from eos_platform.analysis.stats.pareto import hypervolume

    if len(objectives) not in (2, 3):
        raise EosError(f"hypervolume is of two or three objectives, not {len(objectives)}")
    values = np.asarray(points, float).reshape(-1, len(objectives))
    # the smaller is better, of all: an accuracy is counted from 0 as an error from 1
    axes = [Objective(name, "minimise" if bench.minimised(name) else "maximise", name) for name in objectives]
    whole = bench.unreduced(objectives)
    worst = {name: _worst(name, whole[name]) for name in objectives}
    if any(np.isnan(value) for value in worst.values()):
        raise EosError(f"the unreduced model's {' or '.join(objectives)} is not known: no corner to count from")
    frame = pd.DataFrame(values, columns=list(objectives)).dropna()
    return hypervolume(frame, worst, axes) if len(frame) else 0.0


def _worst(name: str, unreduced: float) -> float:
    kind = name.split("/")[0]
    return {"error": 1.0, "accuracy": 0.0}.get(kind, unreduced)
