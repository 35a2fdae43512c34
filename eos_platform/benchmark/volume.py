"""Hypervolume of points of a table, by the platform's own (``analysis/stats/pareto.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eos_platform.common.errors import EosError
from eos_platform.protocols import Objective


def dominated(points: Any, axes: Sequence[Objective], unreduced: Mapping[str, float]) -> float:
    """In the objectives' own units; points with an unknown value add nothing.

    Args:
        points: (points, objectives).
        axes: two objectives, or three.
        unreduced: the unreduced model's, from which costs are counted.

    Raises:
        EosError: of another number of objectives, or one whose worst is not known.
    """
    import pandas as pd

    from eos_platform.analysis.stats.pareto import hypervolume

    if len(axes) not in (2, 3):
        raise EosError(f"hypervolume is of two or three objectives, not {len(axes)}")
    names = [one.metric for one in axes]
    worst = {name: _worst(name, unreduced[name]) for name in names}
    if any(np.isnan(value) for value in worst.values()):
        raise EosError(f"the unreduced model's {' or '.join(names)} is not known: no corner to count from")
    frame = pd.DataFrame(np.asarray(points, float).reshape(-1, len(axes)), columns=names).dropna()
    return hypervolume(frame, worst, axes) if len(frame) else 0.0


def _worst(name: str, unreduced: float) -> float:
    kind = name.split("/")[0]
    return {"error": 1.0, "accuracy": 0.0}.get(kind, unreduced)
