"""Which measures the axes of the front are: the study's own objectives, or any other that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from eos_platform.dashboards.app.parts import field
from eos_platform.protocols import Objective

NAMES = {"y": "Vertical axis", "x": "Horizontal axis", "z": "Third axis (three dimensions)"}


def axis_fields() -> list[html.Div]:
    """The three fields; empty means the study's own, of the third: none."""
    return [
        field(label, dcc.Dropdown(id=f"front-{axis}", options=[], placeholder="none" if axis == "z" else "the study's"))
        for axis, label in NAMES.items()
    ]


def options(measures: Sequence[Objective]) -> list[dict[str, Any]]:
    """What an axis may be."""
    return [{"value": one.metric, "label": one.label} for one in measures]


def chosen_axes(
    own: Sequence[Objective], measures: Sequence[Objective], y: str | None, x: str | None, z: str | None
) -> tuple[Objective, ...]:
    """The axes to draw, the vertical one first; names that are not measured count as not given."""
    known = {one.metric: one for one in measures}
    if not any(name in known for name in (y, x, z)):
        return tuple(own)
    first, second = known.get(y or "", own[0]), known.get(x or "", own[1])
    third = known.get(z or "")
    return (first, second, third) if third else (first, second)
