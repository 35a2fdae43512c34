"""The application: views that stay in the page once visited, so that none loses its zoom; and a check for news."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, dcc, html

from eos_platform.dashboards.app import compare, front, health, listing, operator, table
from eos_platform.dashboards.app.address import VIEWS
from eos_platform.dashboards.app.guard import protect
from eos_platform.dashboards.app.parts import aria

PULSE = 2000  # milliseconds between looks at the store
# put in place on the first visit, by the browser itself: six figures less to begin with
LATER = {"operator": operator, "compare": compare, "health": health}
ALL = ("studies", *VIEWS)
# what the browser finds out late that it needs
AHEAD = (
    "plotly/package_data/plotly.min.js",
    "dash/dcc/async-graph.js",
    "dash/dcc/async-dropdown.js",
    "dash/dcc/async-slider.js",
)


def make_app(studies: Any, *, pulse: int = PULSE, host: str = "127.0.0.1", allowed: Iterable[str] = ()) -> dash.Dash:
    """The Dash application.

    Args:
        studies: what is shown.
        pulse: milliseconds between looks at the store.
        host: the address it is served at; ``allowed``: further names it may be asked under (``guard``).
    """
    app = dash.Dash(
        "eos_platform.dashboards.app",
        title="EOS Platform",
        update_title="",  # a title that flickers is read out by screen readers
        serve_locally=True,
        compress=False,
        suppress_callback_exceptions=True,
        add_log_handler=False,
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">').replace("{%css%}", _ahead() + "{%css%}")
    app.layout = _layout(pulse)
    _navigation(app, studies)
    for page in (listing, front, operator, compare, health, table):
        page.register(app, studies)
    protect(app, studies, host, allowed)
    return app


def _layout(pulse: int) -> html.Div:
    return html.Div(
        id="page",
        className="light",
        children=[
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="where"),
            dcc.Store(id="wanted"),
            dcc.Store(id="known"),
            # the place once more for each view, null where the reader is not: a callback of a view is not asked
            # about a change of another, which would be two thirds of what a click costs
            *(dcc.Store(id=f"at-{name}") for name in ALL),
            dcc.Store(id="study"),
            dcc.Store(id="first"),
            dcc.Store(id="narrow"),
            dcc.Store(id="later", data={name: page.layout() for name, page in LATER.items()}),
            dcc.Store(id="theme", storage_type="local"),
            dcc.Store(id="version", data=""),
            dcc.Interval(id="tick", interval=pulse),
            html.A("Skip to content", href="#content", className="skip"),
            html.Header(
                [
                    dcc.Link("EOS Platform", href="/", className="brand", title="All studies"),
                    html.H1(id="heading", children="Studies"),
                    html.Nav(id="nav", **aria(label="Views of the study")),
                    html.Span(
                        html.Span("Loading …", className="working"),
                        id="live",
                        role="status",
                        **aria(live="polite"),
                    ),
                    html.Button("Dark", id="theme-button", n_clicks=0, title="Switch between light and dark"),
                ]
            ),
            html.Main(
                id="content",
                tabIndex="-1",
                className="show-studies",
                children=[
                    html.Section(
                        [] if name in LATER else page.layout(), id=f"view-{name}", className="view", **aria(label=label)
                    )
                    for name, label, page in (
                        ("studies", "Studies", listing),
                        ("front", "Pareto front", front),
                        ("operator", "Operator", operator),
                        ("compare", "Comparison of operators", compare),
                        ("health", "Study health", health),
                        ("table", "All operators", table),
                    )
                ],
            ),
        ],
    )


def _ahead() -> str:
    return "".join(f'<link rel="preload" as="script" href="/_dash-component-suites/{path}">' for path in AHEAD)


def _navigation(app: dash.Dash, studies: Any) -> None:
    # the browser reads the address; the server is asked once for every study whether it has it
    app.clientside_callback(
        ClientsideFunction("eos", "go"),
        Output("where", "data"),
        Output("wanted", "data"),
        Input("url", "search"),
        Input("known", "data"),
        State("where", "data"),
    )

    @app.callback(Input("wanted", "data"), prevent_initial_call=True)
    def _know(study: str | None) -> None:
        """By ``set_props``: as an output it would close a circle with what asks for it."""
        dash.set_props("known", {"data": {"study": study or "", "there": study in studies.names()}})

    app.clientside_callback(
        ClientsideFunction("eos", "show"),
        Output("content", "className"),
        Output("heading", "children"),
        Output("nav", "children"),
        Input("where", "data"),
        State("known", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("eos", "study"), Output("study", "data"), Input("where", "data"), State("study", "data")
    )
    app.clientside_callback(
        ClientsideFunction("eos", "places"),
        *(Output(f"at-{name}", "data") for name in ALL),
        Output("first", "data"),
        Input("where", "data"),
        Input("version", "data"),
        *(State(f"at-{name}", "data") for name in ALL),
        *(State(f"view-{name}", "className") for name in LATER),
    )

    app.clientside_callback(
        ClientsideFunction("eos", "put"),
        *(Output(f"view-{name}", prop) for name in LATER for prop in ("children", "className")),
        Input("first", "data"),
        State("later", "data"),
        prevent_initial_call=True,
    )

    busy: set[str] = set()

    def ask(study: str) -> tuple[str, str]:
        busy.add(study)
        try:
            return _news(studies, study)
        finally:
            busy.discard(study)

    @app.callback(Output("version", "data"), Output("live", "children"), Input("study", "data"))
    def _arrive(study: str | None) -> tuple[str, str]:
        if study is None or (study and study not in studies.names()):
            raise dash.exceptions.PreventUpdate
        return ask(study)

    @app.callback(
        Input("tick", "n_intervals"), State("where", "data"), State("version", "data"), prevent_initial_call=True
    )
    def _pulse(ticks: int | None, where: dict[str, Any] | None, seen: str) -> None:
        """The cheap question, asked over and over: nothing is sent, and nothing drawn, while the answer is the same.

        No outputs: Dash drops an answer that the next tick overtakes, and a page over a store slower than the pulse
        would wait for ever. For the same reason a study is not asked again before it has answered.
        """
        study = where["study"] if where else ""
        if not where or study in busy:
            raise dash.exceptions.PreventUpdate
        now, summary = ask(study)
        if now == seen:
            raise dash.exceptions.PreventUpdate
        dash.set_props("version", {"data": now})
        dash.set_props("live", {"children": summary})

    app.clientside_callback(
        ClientsideFunction("eos", "theme"),
        Output("theme", "data"),
        Output("page", "className"),
        Output("theme-button", "children"),
        Input("theme-button", "n_clicks"),
        State("theme", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("eos", "narrow"),
        Output("narrow", "data"),
        Output("front-filters", "open"),
        Input("page", "id"),
    )
    app.clientside_callback(
        ClientsideFunction("eos", "focus"),
        Output("content", "title"),
        Input("content", "className"),
        prevent_initial_call=True,
    )


def _news(studies: Any, study: str) -> tuple[str, str]:
    """What changes when the study does (or the list of them, for none), and how things stand in words.

    It begins with the study's name and a colon: ``assets/places.js`` goes by that.
    """
    if not study:
        names = studies.names()
        text = f"{len(names)} studies" if len(names) != 1 else "1 study"
        return f":{','.join(names)}:{sum(studies.version(name) for name in names)}", text
    version, counts = studies.version(study), studies.remaining(study)
    of = f" of {counts['target']}" if counts["target"] else ""
    parts = [f"{counts['done']}{of} trials done"] if counts["done"] or counts["target"] else []
    parts += [f"{counts['running']} running"] if counts["running"] else []
    return f"{study}:{version}", ", ".join(parts)
