"""The figure of mean ranks: a place a method, controls apart, a bar a run that is not told apart."""

import math

import pandas as pd
import pytest

from eos_platform.dashboards.ranks import ranks_figure

RANKS = pd.DataFrame(
    [("tops", 1.2, 5, False), ("scope", 1.9, 2, False), ("random", 2.9, 0, True)],
    columns=["method", "mean_rank", "wins", "control"],
)


def test_methods_go_down_and_bars_join_them():
    figure = ranks_figure(RANKS, [("tops", "scope")], 0.9, 7)
    bar, difference, methods, controls = figure.data
    assert list(bar.y) == [0.2, -1.2]
    assert difference.x[1] - difference.x[0] == pytest.approx(0.9)
    assert list(methods.x) == [1.2, 1.9]
    assert list(controls.y) == [-2.0]
    assert controls.name == "controls"
    assert "7 comparisons" in figure.layout.title.text + str(figure.layout.title.subtitle.text)


def test_without_a_critical_difference_or_ranks():
    assert len(ranks_figure(RANKS, [], math.nan, 1).data) == 2
    empty = ranks_figure(RANKS.iloc[:0], [], math.nan, 0)
    assert empty.layout.annotations[0].text == "Nothing ranked yet"
