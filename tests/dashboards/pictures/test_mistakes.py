"""Wrong answers in small multiples: every number where the table has it, names that do not stand on each other."""

import math

import pandas as pd
import pytest

from eos_platform.dashboards.pictures.mistakes import LEFT, LOW, RIGHT, apart, mistakes_figure


def row(family, design, ratio, accuracy):
    ends = {"accuracy_low": accuracy - 0.01, "accuracy_high": min(1.0, accuracy + 0.01)}
    return {"family": family, "design": design, "ratio": ratio, "compute_ratio": ratio, "accuracy": accuracy, **ends}


POINTS = pd.DataFrame(
    [
        row("unreduced", None, None, 0.99) | {"compute_ratio": 1.0},
        *(row("searched", None, ratio, accuracy) for ratio, accuracy in [(0.1, 0.96), (0.1, 0.98), (0.2, 1.0)]),
        *(row("hand-designed", name, 0.1, accuracy) for name, accuracy in [("tome", 0.9), ("pool", 0.89)]),
        row("hand-designed", "random", 0.2, 0.5),
    ]
)


@pytest.fixture(scope="module")
def figure():
    return mistakes_figure(POINTS, {"merging": ("tome", "pool"), "controls": ("random",)}, "a <title>")


def test_lines_are_the_means_of_seeds_and_dots_the_seeds(figure):
    for axis in ("x", "x2"):
        dots, means = [one for one in figure.data if one.xaxis == axis][-2:]
        assert dots.y == pytest.approx([4.0, 2.0, LOW])  # no wrong answer at all has no place on a log axis
        assert dict(zip(means.x, means.y, strict=True)) == pytest.approx({0.1: 3.0, 0.2: LOW})


def test_a_design_stands_in_its_panel_alone(figure):
    words = [(one.text, one.xref) for one in figure.layout.annotations]
    assert ("tome", "x") in words
    assert ("random", "x2") in words
    assert ("random", "x") not in words
    (tome,) = [one for one in figure.data if one.xaxis == "x" and one.y == pytest.approx([10.0])]
    assert tome.error_y.array == pytest.approx([1.0])
    assert tome.error_y.arrayminus == pytest.approx([1.0])
    assert "&lt;title&gt;" in figure.layout.title.text
    assert all(low <= math.log10(LEFT) < math.log10(RIGHT) <= high for low, high in [figure.layout.xaxis.range])


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([0.0, 5.0], [0.0, 5.0]),
        ([0.0, 0.0], [-0.5, 0.5]),
        ([0.0, 0.2, 1.0], [-0.6, 0.4, 1.4]),
        ([0.0, 1.9, 2.0, 2.1], [0.0, 1.0, 2.0, 3.0]),
        ([], []),
    ],
)
def test_names_are_moved_apart_and_no_further(heights, moved):
    assert apart(heights, 1.0) == pytest.approx(moved)
