"""Operators that save FLOPs and no time are named."""

import math

import pandas as pd

from eos_platform.analysis.comparison.report import slower

HEADER = {"device": "CPU", "batch": 8}


def points(*rows):
    return pd.DataFrame(rows, columns=["name", "family", "prefill_ms"])


def test_operators_that_do_not_pay_are_named_with_both_times():
    whole = ("unreduced", "unreduced", 100.0)
    rows = points(whole, ("quick", "searched", 60.0), ("same", "hand-designed", 99.0), ("slow", "searched", 130.0))
    assert slower(HEADER, rows) == [
        "2 of 3 operators do not pay on CPU at batch 8, where the unreduced prefill takes 100 ms: same (99 ms),"
        " slow (130 ms)."
    ]
    assert slower(HEADER, rows[rows["name"] != "same"][:2]) == []
    many = points(whole, *((f"o{number}", "searched", 200.0) for number in range(8)))
    assert slower(HEADER, many)[0].endswith("o4 (200 ms) and 3 more.")


def test_without_times_nothing_is_said():
    assert slower(HEADER, points(("quick", "searched", 60.0))) == []
    assert slower(HEADER, points(("unreduced", "unreduced", math.nan), ("quick", "searched", 60.0))) == []
