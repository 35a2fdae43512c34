"""Optimisers' hypervolume: what is missed on a log axis, a band from the worst seed to the best."""

import pandas as pd
import pytest

from eos_platform.dashboards.pictures.optimisers import LEAST, optimisers_figure

TABLE = pd.DataFrame(
    [
        {"model": model, "method": method, "evaluations": at, "mean": mean, "worst": mean - 0.05, "best": 1.0}
        for model in ("a", "b")
        for method, mean in (("random", 0.8), ("tpe", 0.9))
        for at in (10, 100)
    ]
)


def test_lines_are_means_and_bands_go_from_the_worst_to_the_best():
    figure = optimisers_figure(TABLE, {"a": "model <a>", "b": "model b"}, "title")
    lines = {(one.name, one.xaxis): one for one in figure.data if one.name}
    assert lines["random", "x"].y == pytest.approx([0.2, 0.2])
    assert lines["TPE", "x2"].y == pytest.approx([0.1, 0.1])
    band = next(one for one in figure.data if one.fill == "toself")
    assert band.y == pytest.approx([0.25, 0.25, LEAST, LEAST])
    assert "model &lt;a&gt;" in figure.layout.annotations[0].text
