"""The payload of a callback: which one it is, of which inputs, and of what kind each value is.

Dash hands a callback whatever was posted. Here it is compared with what the page itself would send.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import dash
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from eos_platform.common.printable import printable
from eos_platform.dashboards.app.address import MOST, VIEWS
from eos_platform.dashboards.app.notes import MOST as LONGEST


class Refused(ValueError):
    """A payload that no page sends; the message is one line."""


Text = Annotated[str, Field(max_length=10_000)]
Words = Annotated[list[Text], Field(max_length=10_000)]
Offered = Annotated[list[dict[Text, Text]], Field(max_length=10_000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Where(BaseModel):
    """The place that ``eosPlace`` (``assets/places.js``) makes of the address."""

    model_config = ConfigDict(extra="forbid", strict=True)

    study: Text
    view: Literal["studies", "front", "operator", "compare", "health", "table"]
    run: Text
    sort: Text = ""
    beside: Annotated[list[Text], Field(max_length=MOST, alias="with")]


class Point(BaseModel):
    """A point of a figure that was clicked or picked; only its key is read."""

    id: Text | None = None


class Picked(BaseModel):
    """What Plotly says was clicked or picked."""

    points: Annotated[list[Point], Field(max_length=100_000)] = []


class Zoom(BaseModel):
    """What part of which figure is shown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    of: Text
    ranges: dict[Literal["xaxis", "yaxis"], Annotated[list[Number], Field(min_length=2, max_length=2)]]


_KINDS: dict[str, Any] = {
    "where.data": Where | None,
    "version.data": Text | None,
    "study.data": Text | None,
    "wanted.data": Text | None,
    **{f"at-{name}.data": Where | None for name in ("studies", *VIEWS)},
    "operator-shown.data": Where | None,
    "url.search": Text | None,
    "theme.data": Text | None,
    "narrow.data": bool | None,
    "front-on.value": Literal["best", "validation"],
    "front-families.value": Words,
    "front-regimes.options": Words | None,
    "front-regimes.value": Words | None,
    "front-designs.options": Words | None,
    "front-designs.value": Words | None,
    "front-show.value": Words,
    "front-budget.value": Number | None,
    "front-zoom.data": Zoom | None,
    "front-drawn.data": Text | None,
    "front-graph.clickData": Picked | None,
    "front-graph.selectedData": Picked | None,
    "compare-choice.value": Words | None,
    "compare-choice.search_value": Text | None,
    "health-drawn.data": Text | None,
    "note-text.value": Annotated[str, Field(max_length=LONGEST)] | None,
    "note-save.n_clicks": Count | None,
    "table-find.value": Text | None,
    **{f"front-{axis}.value": Text | None for axis in ("x", "y", "z")},
    "front-also.value": Words | None,
    "front-y.options": Offered | None,
    "table-columns.options": Offered | None,
    "table-columns.value": Words | None,
    "health-figure.value": Text | None,
    "health-objective.value": Text | None,
    "table-page.value": int | None,
    **{f"{name}.n_intervals": Count | None for name in ("tick", "operator-wait", "compare-wait")},
}
KINDS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}


def check(app: dash.Dash, studies: Any, body: Any) -> None:
    """Compare a payload with the callback it names.

    Raises:
        Refused: what no page of this application sends.
    """
    if not isinstance(body, dict) or not isinstance(body.get("output"), str):
        raise Refused("no output named")
    callback = app.callback_map.get(body["output"])
    if callback is None:
        raise Refused(f"no output '{printable(body['output'], 60)}'")
    for kind, wanted in (("inputs", callback["inputs"]), ("state", callback["state"])):
        for one, expected in _paired(body.get(kind, []), wanted, kind):
            name = f"{expected['id']}.{expected['property']}"
            _check_value(name, one.get("value"), studies)
    names = [f"{one['id']}.{one['property']}" for one in callback["inputs"]]
    changed = body.get("changedPropIds", [])
    if not isinstance(changed, list) or any(name not in names for name in changed):
        raise Refused("changedPropIds are not of its inputs")
    if not callback.get("no_output"):
        _check_outputs(body["output"], body.get("outputs"))


def _paired(given: Any, wanted: list[dict[str, Any]], kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    if not isinstance(given, list) or len(given) != len(wanted):
        raise Refused(f"{kind}: it has {len(wanted)}")
    for one, expected in zip(given, wanted, strict=True):
        if not isinstance(one, dict) or any(one.get(key) != expected[key] for key in ("id", "property")):
            raise Refused(f"{kind}: {expected['id']}.{expected['property']} is missing")
        yield one, expected


def _check_outputs(output: str, given: Any) -> None:
    """Against the output's own name: ``a.b`` or ``..a.b...c.d..``."""
    several = output.startswith("..")
    wanted = [name.rsplit(".", 1) for name in (output[2:-2].split("...") if several else [output])]
    listed = given if several else [given]
    if not isinstance(listed, list) or len(listed) != len(wanted):
        raise Refused("outputs are not its own")
    for one, (name, prop) in zip(listed, wanted, strict=True):
        if not isinstance(one, dict) or (one.get("id"), one.get("property")) != (name, prop):
            raise Refused("outputs are not its own")


def _check_value(name: str, value: Any, studies: Any) -> None:
    try:
        checked = KINDS[name].validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, (name, *first["loc"])))
        raise Refused(f"{printable(at, 80)}: {first['msg'][:1].lower()}{printable(first['msg'][1:], 120)}") from None
    if isinstance(checked, Where):
        if (checked.view == "studies") != (not checked.study):
            raise Refused(f"{name}: a study has views, and only the list of studies has none")
        if checked.study and checked.study not in studies.names():
            raise Refused(f"{name}: no study '{printable(checked.study, 60)}' here")
