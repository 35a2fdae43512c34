"""A note on the operator's page: what people want to remember of it, kept where MLflow keeps notes."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, State, dcc, html

from eos_platform.common.errors import EosError
from eos_platform.dashboards.app.parts import aria

MOST = 2000  # characters, as ``tracking/notes.py`` says


def layout() -> html.Div:
    """A field that keeps what is being typed while the study goes on, and a button."""
    return html.Div(
        [
            html.Label("Note (saved as the run's description in MLflow)", htmlFor="note-text", className="label"),
            dcc.Textarea(
                id="note-text", maxLength=MOST, rows=2, placeholder="Anything worth remembering about this operator"
            ),
            html.Div(
                [
                    html.Button("Save note", id="note-save", n_clicks=0),
                    html.Span("", id="note-said", role="status", **aria(live="polite")),
                ],
                className="saving",
            ),
        ],
        id="operator-note",
        className="note-box gone",
    )


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks."""

    def here(where: dict[str, Any] | None) -> bool:
        known = bool(where) and where["view"] == "operator"  # type: ignore[index]
        return known and where["run"] in set(studies.operators(where["study"])["key"])  # type: ignore[index]

    @app.callback(
        Output("note-text", "value"),
        Output("operator-note", "className"),
        Output("note-said", "children"),
        Input("at-operator", "data"),
    )
    def _show(where: dict[str, Any] | None) -> tuple[str, str, str]:
        if where is None or not here(where):
            return "", "note-box gone", ""
        return studies.note(where["study"], where["run"]), "note-box", ""

    @app.callback(
        Output("note-said", "children", allow_duplicate=True),
        Input("note-save", "n_clicks"),
        State("note-text", "value"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def _save(clicks: int | None, text: str | None, where: dict[str, Any] | None) -> str:
        if not clicks or where is None or not here(where):
            raise dash.exceptions.PreventUpdate
        try:
            studies.write_note(where["study"], where["run"], (text or "").strip())
        except EosError as error:
            return str(error)
        return "Saved" if (text or "").strip() else "Removed"
