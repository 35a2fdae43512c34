"""Device profiles of the first format, in which all picks counted alike, whoever made them.

Profiles then held fixed operators by name, of which the selectors are known, and others drawn at random, held out.
"""

from __future__ import annotations

from typing import Any

from eos_platform.costs.device.work import LAUNCHED

FORMER = "eos-device-profile-1"
PICKS = 1  # which of the columns
FITTED = {"divprune": "farthest", "cdpruner": "dpp"}  # operators with picks, beside those of one kernel


def converted(data: dict[str, Any]) -> dict[str, Any]:
    """A profile with the columns of today; operators of which it is not known who picked are left out.

    What is no profile is handed back as it is, for the schema to refuse.
    """
    points = data.get("points")
    return data | {"points": [_point(one) for one in points if not _unknown(one)]} if isinstance(points, list) else data


def _unknown(point: Any) -> bool:
    """Whether it is of an operator with picks that was drawn at random."""
    columns = _columns(point) if isinstance(point, dict) and point.get("held_out") else []
    return len(columns) > PICKS and columns[PICKS] > 0


def _columns(point: dict[str, Any]) -> list[Any]:
    """Those of a point, if they are numbers."""
    work = point.get("work")
    columns = work.get("columns") if isinstance(work, dict) else None
    sound = isinstance(columns, list) and all(isinstance(one, (int, float)) for one in columns)
    return columns if sound and columns else []


def _point(point: Any) -> Any:
    columns = _columns(point) if isinstance(point, dict) else []
    if len(columns) <= PICKS:
        return point
    picks = columns[PICKS]
    selector = FITTED.get(str(point.get("name", "")).rpartition("-")[0])
    split = [0.0, picks * LAUNCHED[selector]] if selector else [picks, 0.0]
    return point | {"work": point["work"] | {"columns": [*columns[:PICKS], *split, *columns[PICKS + 1 :]]}}
