"""The dark form of a figure, and colours that are told apart by more than hue."""

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.comparison import compared_skills, staircases
from eos_platform.dashboards.objectives import space_figure
from eos_platform.dashboards.operator import operator_figure
from eos_platform.dashboards.palette import (
    INK,
    PAPER,
    REGIMES,
    SEARCHED,
    SEARCHES,
    colour_of,
    darkened,
    design_styles,
    operator_styles,
    rgba,
    theme,
)
from eos_platform.dashboards.pareto import pareto_figure
from eos_platform.dashboards.ranks import ranks_figure
from eos_platform.objectives import COSTS, DEFAULT


def test_colours_are_exchanged_and_data_left_alone():
    figure = go.Figure(
        go.Scatter(
            x=[1, 2], y=[3, 4], customdata=[INK, INK], marker={"color": SEARCHED}, line={"color": rgba(INK, 0.9)}
        )
    )
    figure.update_layout(theme("T"))
    dark = darkened(figure.to_plotly_json())
    (trace,) = dark["data"]
    assert dark["layout"]["paper_bgcolor"] == "#15181c" != PAPER
    assert trace["marker"]["color"] == "#56b4e9"
    assert trace["line"]["color"] == "rgba(232,234,237,0.9)"
    assert list(trace["customdata"]) == [INK, INK]
    assert list(trace["x"]) == [1, 2]
    assert figure.layout.paper_bgcolor == PAPER  # of another, the figure is as it was


def test_colours_in_text_and_pale_ones():
    assert darkened({"text": f"<span style='color:{INK}'>x</span>"})["text"] == "<span style='color:#e8eaed'>x</span>"
    assert darkened(rgba(SEARCHED, 0.2)) == "rgba(86,180,233,0.3)"
    assert darkened("rgba(1,2,3,0.2)") == "rgba(1,2,3,0.2)"
    assert darkened("white") == "#15181c"


def test_a_colour_scale_is_exchanged_too():
    """What is strong on white would be all but gone on black."""
    assert darkened([[0.0, "#b9c2cc"], [1.0, "#004b87"]]) == [[0.0, "#5a6570"], [1.0, "#d6efff"]]


def test_symbols_differ_where_colours_do():
    assert len(set(REGIMES.values())) == len(REGIMES)
    assert len(set(SEARCHES)) == len(SEARCHES) >= 6
    assert len(set(map(darkened, SEARCHES))) == len(SEARCHES)  # on a dark page as well


THINGS = [
    ("trial 3", "searched", None),
    ("tome at 0.2", "hand-designed", "tome"),
    ("tome at 0.4", "hand-designed", "tome"),
    ("trial 5", "searched", None),
    ("unreduced", "unreduced", None),
    ("mine at 0.2", "hand-designed", "one-of-a-plugin"),
]


def test_operators_beside_each_other_are_told_apart_and_have_their_things_colour():
    styles = operator_styles(THINGS)
    assert len(set(styles.values())) == len(THINGS)
    go.Scatter(marker={"symbol": [style.symbol for style in styles.values()]})  # plotly knows every one
    assert styles["tome at 0.2"].colour == styles["tome at 0.4"].colour == design_styles(["tome"])["tome"].colour
    assert styles["trial 3"].colour == SEARCHED != styles["trial 5"].colour
    assert styles["unreduced"].colour == INK
    # a design that nobody here knows has its own colour, whoever stands beside it
    assert styles["mine at 0.2"].colour == operator_styles(reversed(THINGS))["mine at 0.2"].colour


def test_a_design_has_one_colour_in_front_diagram_comparison_ranks_and_mlflow():
    """Front, three dimensions, tokens by layer, accuracy by skill, ranks: one mapping."""
    points = pd.DataFrame(
        {"name": [name for name, *_ in THINGS], "family": [family for _, family, _ in THINGS]}
        | {"design": [design for *_, design in THINGS], "prefill_ms": 3.0, "mean_tokens": 9.0}
        | {"accuracy": 0.8, "compute_ratio": [0.2, 0.2, 0.4, 0.5, 1.0, 0.2]}
    )
    tome = colour_of("hand-designed", "tome")
    front = {trace.name: trace for trace in pareto_figure(points).data}
    assert front["tome"].marker.color == tome
    axes = (*DEFAULT, COSTS["prefill_ms"])
    space = {trace.name: trace for trace in space_figure(points, "T", axes=axes).data}
    assert space["tome"].marker.color == tome
    assert space["Pareto front"].marker.color == SEARCHED
    layers = pd.DataFrame({"place": "decoder", "layer": range(2), "tokens": 9})
    site = {"place": "decoder", "layer": 0, "before": 20, "after": 9, "regime": "merge", "selector": "score"}
    diagram = operator_figure(layers, pd.DataFrame([site]), colour=tome)
    assert diagram.data[-1].line.color == tome
    styles = operator_styles(THINGS)
    names = list(styles)
    stairs = staircases(pd.concat(layers.assign(operator=name) for name in names), styles=styles)
    assert {trace.name: trace.line.color for trace in stairs.data} == {name: styles[name].colour for name in names}
    skills = pd.DataFrame({"operator": names, "skill": "text", "accuracy": 0.5})
    drawn = {trace.name: trace.marker.color for trace in compared_skills(skills, styles=styles).data if trace.name}
    assert drawn == {name: styles[name].colour for name in names}
    ranks = pd.DataFrame(
        {"method": ["searched", "tome tuned", "random"], "mean_rank": [1.0, 2.0, 3.0], "wins": 1, "control": False}
    )
    (methods,) = [trace for trace in ranks_figure(ranks, [], 0.5, 3).data if trace.name == "methods"]
    assert methods.marker.color[:2] == (SEARCHED, tome)
