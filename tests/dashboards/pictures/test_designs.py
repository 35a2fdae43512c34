"""The heat map of designs: shares of the unreduced accuracy, the best design on top, nothing where nothing is."""

import math

import pandas as pd
import pytest

from eos_platform.dashboards.pictures.designs import SEARCHED, designs_figure, kept_shares


def row(model, design, ratio, accuracy, variant="published"):
    return {"model": model, "design": design, "ratio": ratio, "accuracy": accuracy, "variant": variant}


CELLS = pd.DataFrame(
    [
        row("a", None, None, 0.8),
        row("b", "", None, 0.5),
        row("a", "tome", 0.2, 0.6),
        row("a", "tome", 0.2, 0.72, "tuned"),
        row("b", "tome", 0.2, 0.4),
        row("a", "random", 0.2, 0.2),
        row("b", "random", 0.2, float("nan")),
        row("a", SEARCHED, 0.2, 0.8),
        row("a", "tome", 0.1, 0.1),
    ]
)


def test_shares_are_of_each_models_own_accuracy_and_of_the_better_variant():
    shares = kept_shares(CELLS, 0.2)
    assert shares.loc["tome"].to_dict() == pytest.approx({"a": 0.9, "b": 0.8})
    assert math.isnan(shares.loc["random", "b"])
    assert math.isnan(shares.loc[SEARCHED, "b"])


def test_the_searched_stands_on_top_and_the_worst_design_at_the_bottom():
    figure = designs_figure(CELLS, {"a": "<A>", "b": "B"}, (0.2, 0.1), "<title>")
    first, second = figure.data
    assert list(first.y) == ["random", "tome", f"<b>{SEARCHED}</b>"]
    assert list(first.x) == ["&lt;A&gt;", "B"]
    assert first.z[1] == pytest.approx([90, 80])
    assert second.z[1][0] == pytest.approx(12.5)
    numbers = [(one.text, one.xref) for one in figure.layout.annotations if one.xref in ("x", "x2")]
    assert ("90", "x") in numbers
    assert ("12", "x2") in numbers
    assert len(numbers) == 5  # 90, 80, 25, 100 and 12: none where nothing was measured
