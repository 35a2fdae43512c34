"""Tables of operators have a column for every objective of the study, whoever brought it."""

import json
import math

import pandas as pd
import plotly.graph_objects as go
import pytest

from eos_platform.dashboard_data.report import Report, html
from eos_platform.dashboards.page import page
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective

pytest.importorskip("dash")

from eos_platform.dashboards.app import beside, compare, operator, parts, table

AXES = (
    Objective("accuracy/place", "maximise", "accuracy/place", ".1%"),
    Objective("attention_pairs", "minimise", "attention pairs", ".0f"),
)
ROW = {
    "key": "k",
    "name": "trial 3",
    "family": "searched",
    "regime": "merge",
    "state": "complete",
    "trial": 3,
    "accuracy": 0.5,
    "accuracy_low": 0.4,
    "accuracy_high": 0.6,
    "measured_on": "held-out",
    "validation": 0.5,
    "compute_ratio": 0.2,
    "mean_tokens": 11.0,
    "tokens_left": 9.0,
    "seconds": 2.0,
    "seed": 0.0,
    "front": True,
    "note": None,
    "accuracy/place": 0.25,
    "attention_pairs": 1234.4,
}
WHERE = {"study": "mine", "view": "table", "run": "", "with": []}


def words(component):
    """Every text in a component, in order."""
    return json.dumps(component.to_plotly_json(), default=lambda one: one.to_plotly_json())


@pytest.mark.parametrize(
    "made",
    [
        lambda axes: parts.operators_table([ROW], WHERE, "all", axes),
        lambda axes: operator._facts(ROW, axes, {}),
        lambda axes: compare._numbers([ROW, ROW], WHERE, axes, (), [], []),
    ],
)
def test_further_objectives_have_a_place(made):
    said = words(made(AXES))
    for reported in ("accuracy/place", "25.0%", "attention pairs", "1234"):
        assert reported in said
    assert "attention pairs" not in words(made(DEFAULT))


def test_what_is_not_known_of_one_is_left_empty():
    said = words(parts.operators_table([{**ROW, "attention_pairs": math.nan}], WHERE, "all", AXES))
    assert "attention pairs" in said
    assert "1234" not in said


def test_the_table_can_be_put_in_the_order_of_any_column():
    found = pd.DataFrame([{**ROW, "design": ""}, {**ROW, "name": "trial 4", "design": "", "attention_pairs": 7.0}])
    columns = table.columns_of(AXES, (), ["rate"])
    for order, first in (("attention_pairs", "trial 4"), ("-attention_pairs", "trial 3"), ("-name", "trial 4")):
        assert table.ordered(found, order, columns)["name"].iloc[0] == first
    assert table.ordered(found, "nothing", columns)["name"].tolist() == ["trial 3", "trial 4"]
    assert table.usual(AXES, ["rate"])[-5:] == ["accuracy/place", "attention_pairs", "params.rate", "seconds", "seed"]


def test_the_file_has_numbers_in_full_and_no_formulas():
    found = pd.DataFrame([{**ROW, "name": "=1+1", "key": "k", "attention_pairs": 1234.5678}])
    head, line, _ = table.as_csv(found, table.columns_of(AXES, (), [])).split("\r\n")
    cells = dict(zip(head.split(","), line.split(","), strict=True))
    assert cells["operator"] == "'=1+1"
    assert cells["attention_pairs"] == "1234.5678"


def test_the_report_has_them():
    written = html(Report("mine", "", {"front": go.Figure()}, pd.DataFrame([ROW]), AXES))
    for reported in ("<th>accuracy/place</th>", "<th>attention pairs</th>", "25.0%", "1234"):
        assert reported in written


def test_a_column_with_any_word_stands_at_the_left_and_one_of_numbers_at_the_right():
    rows = pd.DataFrame({"setting": ["a", "b"], "value": ["scenes", "6"], "share": ["0.5", ""], "few": [1, None]})
    assert "#table-0 :is(th, td):nth-child(2) { text-align: left; }" in page("T", "", [go.Figure()], table=rows)


def test_a_searched_operator_is_held_against_the_design_nearest_to_it():
    """The most accurate within a quarter of its compute, else the nearest; with difference, interval and p."""
    mine = {**ROW, "compute_ratio": 0.2}
    near = [
        {**ROW, "key": name, "name": name, "family": "hand-designed", "compute_ratio": ratio, "accuracy": accuracy}
        for name, ratio, accuracy in (("a", 0.19, 0.4), ("b", 0.22, 0.45), ("c", 0.4, 0.9))
    ]
    assert beside.nearest_design(pd.DataFrame([mine, *near]), mine)["name"] == "b"
    assert beside.nearest_design(pd.DataFrame([mine, near[2]]), mine)["name"] == "c"
    assert beside.nearest_design(pd.DataFrame([mine]), mine) is None
    said = beside.against_design((0.05, 0.01, 0.09, 0.0123), near[1])
    assert said == "+5.0 points (+1.0 to +9.0), p 0.012 (b, compute 0.220)"
    shown = words(
        compare._numbers([mine, near[0]], WHERE, DEFAULT, (), [None], [(near[1], (0.05, 0.01, 0.09, 0.0123)), None])
    )
    for text in ("nearest design", '"b"', "compute 0.220", "+5.0 (+1.0 to +9.0)", "0.012"):
        assert text in shown


@pytest.mark.parametrize(
    ("gap", "ratio", "said"),
    [
        ((-0.1, -0.12, -0.08, 0.0), 0.2, "trial 3, at the same compute"),
        ((-0.1, -0.12, -0.08, 0.0), 0.201, "trial 3, at the same compute"),
        ((-0.1, -0.12, -0.08, 0.0), 0.3, "trial 3, and cheaper"),
        ((0.1, 0.08, 0.12, 0.0), 0.3, "other more accurate, trial 3 cheaper"),
        ((0.0, -0.01, 0.01, 0.9), 0.1, "no significant difference in accuracy; other is cheaper"),
        ((0.0, -0.01, 0.01, 0.9), 0.2, "no significant difference, at the same compute"),
        (None, 0.2, ""),
    ],
)
def test_which_of_two_is_better_is_said_of_both_accuracy_and_compute(gap, ratio, said):
    assert beside.verdict(gap, ROW, {**ROW, "name": "other", "compute_ratio": ratio}) == said
