"""Pieces that several pages use: a themed graph, an accessible table, a line to copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import dcc, html

from eos_platform.dashboards.app.address import link
from eos_platform.dashboards.palette import CONFIG, darkened
from eos_platform.protocols import Objective

PLOT: Any = {**CONFIG, "toImageButtonOptions": {"format": "svg"}}


def drawn(figure: go.Figure, theme: str | None, keep: str) -> dict[str, Any]:
    """The figure as the page's theme has it; ``keep`` unchanged means zoom and selection stay."""
    plain = figure.to_plotly_json()  # ``update_layout`` would take as long as making a small figure
    plain["layout"] |= {"uirevision": keep, "selectionrevision": keep, "autosize": True}
    plain["layout"].pop("width", None)
    return darkened(plain) if theme == "dark" else plain


def graph(name: str, label: str, **more: Any) -> html.Figure:
    """A figure with a name for those who cannot see it."""
    config: Any = {**PLOT, **more.pop("config", {})}
    inner = dcc.Graph(id=name, config=config, figure=more.pop("figure", None) or _empty(), responsive=True, **more)
    return html.Figure(inner, className="figure", **aria(label=label))


def shown(figure: go.Figure, theme: str | None, label: str, name: str) -> html.Figure:
    """A figure that is made together with what is around it."""
    height = figure.layout.height
    plain = drawn(figure, theme, name)
    # a small figure has room for one button, not for a dozen over its title
    config: Any = {**PLOT, "modeBarButtons": [["toImage"]]}
    inner = dcc.Graph(id=name, config=config, figure=plain, responsive=True, style={"height": f"{height}px"})
    return html.Figure(inner, className="figure", **aria(label=label))


def waiting(text: str) -> html.P:
    """What a page holds until it is filled: it is put back when the reader leaves, so that no page is ever blank."""
    return html.P(html.Span(text, className="working"), className="note", role="status")


def field(label: str, control: Any) -> html.Div:
    """A control with its label."""
    name = f"label-{control.id}"
    group = {"role": "group", **aria(labelledby=name)}
    return html.Div([html.Span(label, id=name, className="label"), control], className="field", **group)


def aria(**label: str) -> dict[str, Any]:
    """Attributes for screen readers."""
    return {f"aria-{name}": value for name, value in label.items()}


def _empty() -> dict[str, Any]:
    hidden = {"visible": False}
    clear = "rgba(0,0,0,0)"
    return {"data": [], "layout": {"xaxis": hidden, "yaxis": hidden, "paper_bgcolor": clear, "plot_bgcolor": clear}}


def percent(share: Any) -> str:
    """Per cent, or nothing."""
    return "" if share is None or pd.isna(share) else f"{100 * share:.1f} %"


def number(value: Any, form: str = ".3f") -> str:
    """A number, or nothing."""
    return "" if value is None or pd.isna(value) else format(value, form)


def interval(row: Mapping[str, Any]) -> str:
    """The 95 % interval in points."""
    low, high = row["accuracy_low"], row["accuracy_high"]
    return "" if pd.isna(low) or pd.isna(high) else f"{100 * low:.1f} to {100 * high:.1f}"


SHOWN = ("accuracy", "compute_ratio", "mean_tokens")  # metrics that have a place of their own in every table


def others(axes: Sequence[Objective]) -> list[Objective]:
    """The objectives that are shown beside accuracy, compute and tokens: other costs, groups of questions."""
    return [one for one in axes if one.metric not in SHOWN]


def value(row: Mapping[str, Any], one: Objective) -> str:
    """A row's value of an objective, or nothing."""
    found = row.get(one.metric)
    return "" if found is None or pd.isna(found) else one.show(found)


def operators_table(
    rows: Iterable[Mapping[str, Any]], where: Mapping[str, Any], caption: str, axes: Sequence[Objective] = ()
) -> html.Div:
    """Operators as a table, each a link to its page; a column for each further objective."""
    further = others(axes)
    columns = ["operator", "family", "regime", "compute ratio", "accuracy", "95 % interval (%)", "measured on"]
    columns += ["mean tokens", *(one.label for one in further)]
    lines = [
        [
            dcc.Link(str(row["name"]), href=link(where, view="operator", run=row["key"])),
            row["family"],
            row["regime"] if isinstance(row["regime"], str) else str(row["state"]),
            number(row["compute_ratio"]),
            percent(row["accuracy"]),
            interval(row),
            row["measured_on"] if isinstance(row["measured_on"], str) else "",
            number(row["mean_tokens"], ".1f"),
            *(value(row, one) for one in further),
        ]
        for row in rows
    ]
    return plain_table(columns, lines, caption, right=(3, 4, 5, *range(7, len(columns))))


def plain_table(
    columns: Sequence[Any], lines: Iterable[Sequence[Any]], caption: str, right: Sequence[int] = ()
) -> html.Div:
    """A table with a caption and heads that screen readers announce."""
    sides = set(right)
    align = ["right" if place in sides else "" for place in range(len(columns))]
    head = [
        name if isinstance(name, html.Th) else html.Th(name, scope="col", className=side)
        for name, side in zip(columns, align, strict=True)
    ]
    body = [
        html.Tr(
            [
                html.Th(line[0], scope="row"),
                *(html.Td(cell, className=align[place + 1]) for place, cell in enumerate(line[1:])),
            ]
        )
        for line in lines
    ]
    return html.Div(
        html.Table([html.Caption(html.Span(caption)), html.Thead(html.Tr(head)), html.Tbody(body)]),
        className="table",
        role="region",  # what can be scrolled can be reached, and has a name
        tabIndex="0",
        **aria(label=caption),
    )


def copyable(label: str, text: str, name: str) -> html.Div:
    """A line of code with a button that copies it."""
    return html.Div(
        [
            html.Span(label, className="label"),
            html.Code(text, id=name, tabIndex="0"),
            # assets/page.js does the copying and says so
            html.Button("Copy", className="copy", **{**aria(label=f"Copy: {label}"), "data-copy": name}),
        ],
        className="copyable",
    )
