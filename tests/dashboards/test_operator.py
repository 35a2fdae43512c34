"""The diagram of an operator and operators side by side, by what their traces hold."""

import pandas as pd
import pytest

from eos_platform.dashboards.comparison import compared_skills, staircases
from eos_platform.dashboards.operator import operator_figure
from eos_platform.dashboards.palette import REGIMES, SEARCHED, UNTOUCHED, rgba

SITE = {"place": "decoder", "layer": 0, "before": 100, "after": 40, "regime": "merge", "selector": "score"}


@pytest.fixture
def layers():
    return pd.DataFrame({"place": "decoder", "layer": range(4), "tokens": [40, 40, 10, 10]})


def test_tokens_fall_in_the_operators_colour_and_are_grey_before_its_first_site(layers):
    sites = pd.DataFrame([SITE, {**SITE, "layer": 2, "before": 40, "after": 10, "regime": "prune"}])
    figure = operator_figure(layers, sites, "A <b>")
    (bars,) = [trace for trace in figure.data if trace.type == "bar"]
    assert bars.y == (40, 40, 10, 10)
    assert set(bars.marker.color) == {rgba(SEARCHED, 0.22)}
    marks = [trace for trace in figure.data if trace.type == "scatter"]
    assert [(mark.name, mark.x[0], mark.y) for mark in marks] == [("merge", -0.5, (100, 40)), ("prune", 1.5, (40, 10))]
    assert [mark.text[1].strip() for mark in marks] == ["100 → 40", "40 → 10"]
    assert [mark.marker.symbol for mark in marks] == [REGIMES["merge"], REGIMES["prune"]]
    late = operator_figure(layers, sites[1:], colour="#d55e00")
    before, after = rgba(UNTOUCHED, 0.22), rgba("#d55e00", 0.22)
    assert late.data[0].marker.color == (before, before, after, after)
    assert figure.layout.yaxis.range[1] > 100
    assert "A &lt;b&gt;" in figure.layout.title.text


def test_a_late_site_s_label_is_left_of_it(layers):
    sites = pd.DataFrame([SITE, {**SITE, "layer": 3, "before": 40, "after": 10}])
    marks = [trace for trace in operator_figure(layers, sites).data if trace.type == "scatter"]
    assert [mark.textposition for mark in marks] == ["top right", "top left"]


def test_sites_at_one_place_share_a_label_and_the_legend(layers):
    sites = pd.DataFrame([{**SITE, "after": 60}, {**SITE, "before": 60}])
    marks = [trace for trace in operator_figure(layers, sites).data if trace.type == "scatter"]
    assert [mark.text[1].strip() for mark in marks] == ["", "100 → 40 in 2 sites"]
    assert [mark.showlegend for mark in marks] == [True, False]


def test_the_tower_stands_left_of_the_language_model():
    tower = pd.DataFrame({"place": "tower", "layer": [0, 1], "tokens": [100, 50]})
    decoder = pd.DataFrame({"place": "decoder", "layer": [0, 1], "tokens": [50, 50]})
    sites = pd.DataFrame([{**SITE, "place": "tower", "layer": 1, "after": 50}])
    figure = operator_figure(pd.concat([tower, decoder]), sites)
    assert figure.data[0].x == (-2, -1, 0, 1)
    (mark,) = [trace for trace in figure.data if trace.type == "scatter"]
    assert mark.x[0] == -1.5
    assert {note.text for note in figure.layout.annotations} == {"vision tower", "language model"}


def test_nothing_to_draw_is_said():
    empty = pd.DataFrame(columns=["place", "layer", "tokens"])
    assert operator_figure(empty, pd.DataFrame(columns=list(SITE))).layout.annotations[0].text == "No layer"
    skills = compared_skills(pd.DataFrame(columns=["operator", "skill", "accuracy"]))
    assert skills.layout.annotations[0].text == "No score by skill was measured"


def test_skills_of_several_are_told_apart_by_symbol():
    skills = pd.DataFrame(
        [("a", "text", 0.5), ("a", "size", 0.9), ("b", "text", 0.7), ("b", "size", 0.8)],
        columns=["operator", "skill", "accuracy"],
    )
    between, a, b = compared_skills(skills).data
    assert (a.name, b.name) == ("a", "b")
    assert a.marker.symbol != b.marker.symbol
    assert a.x == pytest.approx((50, 90))
    assert between.x[:2] == pytest.approx((50, 70))
    assert compared_skills(skills).layout.yaxis.categoryarray == ("text", "size")  # the hardest at the foot
    only = compared_skills(skills[skills["operator"] == "a"]).data[1]
    assert [text.strip() for text in only.text] == ["50", "90"]


def test_staircases_of_several():
    layers = pd.DataFrame({"operator": ["a", "a", "b", "b"], "layer": [0, 1, 0, 1], "tokens": [9, 4, 6, 6]})
    a, b = staircases(layers).data
    assert (a.y, b.y) == ((9, 4), (6, 6))
    assert a.line.color != b.line.color
