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
    return data | {"points": [new for one in points if (new := _point(one))]} if isinstance(points, list) else data


def _point(point: Any) -> Any:
    if not isinstance(point, dict) or not isinstance(point.get("work"), dict):
        return point
    columns = point["work"].get("columns")
    if not isinstance(columns, list) or len(columns) <= PICKS or not isinstance(columns[PICKS], (int, float)):
        return point
    picks, name = columns[PICKS], str(point.get("name", ""))
    if picks and point.get("held_out"):
        return None
    selector = FITTED.get(name.rpartition("-")[0])
    split = [0.0, picks * LAUNCHED[selector]] if selector else [picks, 0.0]
    return point | {"work": point["work"] | {"columns": [*columns[:PICKS], *split, *columns[PICKS + 1 :]]}}
