"""What is set on the front and the table, in the page's address: a reload, a bookmark or a mailed link shows the same.

``assets/state.js`` writes it there, without a new entry in the history, and sets the fields from it when a page opens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, dcc, html

from eos_platform.dashboards.app.address import kept_of
from eos_platform.dashboards.app.parts import field
from eos_platform.protocols import Objective

LEAST = 0.01  # compute ratio at the left end of the slider
MARKS = {0.01: ".01", 0.03: ".03", 0.1: ".1", 0.3: ".3", 1.0: "none"}


def budget_control() -> html.Div:
    """A slider with a logarithmic scale, as the axis has, and a box; the box holds the value."""
    return html.Div(
        [
            dcc.Slider(
                id="front-budget-slider",
                min=math.log10(LEAST),
                max=0.0,
                step=0.01,
                value=0.0,
                marks={round(math.log10(ratio), 3): text for ratio, text in MARKS.items()},
                updatemode="mouseup",
                allow_direct_input=False,
                included=True,
            ),
            # Enter or leaving the box applies it
            dcc.Input(
                id="front-budget",
                type="number",
                min=0,
                max=1,
                step="any",
                debounce=True,
                placeholder="none",
            ),
            html.Label("Budget as a number", htmlFor="front-budget", className="unseen"),
        ],
        id="front-budget-control",
    )


def remember(app: dash.Dash, studies: Any) -> None:
    """The callbacks between fields and address."""

    # options and value together: a dropdown forgets a value that it is not offered yet
    fields = ("front-y", "front-x", "front-z", "front-also")

    @app.callback(
        *(Output(name, "options") for name in fields),
        *(Output(name, "value") for name in fields),
        Input("at-front", "data"),
        State("front-y", "options"),
        State("url", "search"),
    )
    def _offer(where, offered, search):  # type: ignore[no-untyped-def]
        if not where:
            raise dash.exceptions.PreventUpdate
        known = options(studies.measures(where["study"]))
        others = [name for name in studies.names() if name != where["study"]]
        values: tuple[Any, ...] = (dash.no_update,) * len(fields)
        if not offered:  # the page has just been opened
            given = kept_of(search or "")
            values = tuple(next(iter(given.get(axis, [])), None) for axis in ("y", "x", "z"))
            values += ([name for name in given.get("also", []) if name in others],)
        return known, known, known, others, *values

    app.clientside_callback(
        ClientsideFunction("eos", "budget"),
        Output("front-budget", "value"),
        Output("front-budget-slider", "value"),
        Input("front-budget", "value"),
        Input("front-budget-slider", "value"),
        Input("url", "search"),
    )
    app.clientside_callback(
        ClientsideFunction("eos", "restore"),
        *(Output(name, "value") for name in ("front-on", "front-families", "front-show")),
        Output("table-find", "value"),
        Input("url", "search"),
    )
    app.clientside_callback(
        ClientsideFunction("eos", "keep"),
        Output("front-kept", "data"),
        Input("where", "data"),
        *(Input(name, "value") for name in ("front-on", "front-families", "front-regimes", "front-designs")),
        *(Input(name, "value") for name in ("front-budget", "front-show", "front-y", "front-x", "front-z")),
        Input("front-also", "value"),
        Input("front-zoom", "data"),
        Input("table-find", "value"),
        Input("table-columns", "value"),
        State("front-regimes", "options"),
    )


AXES = {"y": "Vertical axis", "x": "Horizontal axis", "z": "Third axis (three dimensions)"}


def axis_fields() -> list[html.Div]:
    """The three fields; empty means the study's own, of the third: none."""
    return [
        field(
            label,
            dcc.Dropdown(id=f"front-{axis}", options=[], placeholder="none" if axis == "z" else "as in the study"),
        )
        for axis, label in AXES.items()
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
