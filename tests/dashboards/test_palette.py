"""The dark form of a figure, and colours that are told apart by more than hue."""

import plotly.graph_objects as go

from eos_platform.dashboards.palette import COMPARED, INK, PAPER, REGIMES, SEARCHED, darkened, rgba, theme


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
    for styles in (REGIMES.values(), COMPARED):
        assert len({style.symbol for style in styles}) == len({style.colour for style in styles}) == len(list(styles))
