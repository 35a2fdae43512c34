"""Tests of differences against enumeration and published examples; tables made of records."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos_platform.analysis.comparison import store
from eos_platform.analysis.comparison.differences import differences, holm, hypervolumes, mcnemar, two_sided
from eos_platform.analysis.comparison.overlays import kept_of
from eos_platform.analysis.comparison.points import best_searched, for_csv, points_of, skills, unreachable_of
from eos_platform.analysis.comparison.report import markdown, p_text, reproduce, table
from eos_platform.analysis.stats.pareto import hypervolume
from eos_platform.common.errors import EosError


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 5), (5, 0), (1, 9), (5, 5), (25, 40), (3, 17)])
def test_mcnemar_is_the_binomial_summed(one, other):
    total = one + other
    tail = sum(math.comb(total, k) for k in range(min(one, other) + 1)) / 2**total
    assert two_sided(one, other) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_many_questions_does_not_overflow():
    assert two_sided(1000, 1000) == pytest.approx(1.0)
    assert two_sided(1000, 1500) < 1e-20
    z = (2100 - 2000 - 1) / math.sqrt(4100)  # the normal approximation, corrected for continuity
    assert two_sided(2000, 2100) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.005)


def test_mcnemar_asks_only_where_they_differ():
    a = np.array([True] * 50 + [False] * 3 + [True] * 8)
    b = np.array([True] * 50 + [True] * 3 + [False] * 8)
    assert mcnemar(a, b) == mcnemar(b, a) == two_sided(3, 8)
    with pytest.raises(EosError, match="the same questions twice"):
        mcnemar(a, b[:-1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_value_and_bonferroni(values):
    adjusted = holm(values)
    assert np.all(adjusted >= np.asarray(values) - 1e-12)
    assert np.all(adjusted <= np.minimum(1, np.asarray(values) * len(values)) + 1e-12)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(adjusted[order]) >= 0)


@pytest.fixture(scope="module")
def points(finished):
    return points_of(store.read_records(finished))


def test_points_hold_what_was_measured(points):
    assert points["family"].tolist()[0] == "unreduced"
    assert points.loc[0, "counted_ratio"] == 1
    assert np.all(points["accuracy_low"] <= points["accuracy"])
    assert np.all(points["accuracy"] <= points["accuracy_high"])
    ratios = points["ratio"].dropna().tolist()
    assert ratios == sorted(ratios, reverse=True)
    assert "counting" in skills(points)
    assert "correct" not in for_csv(points)
    assert points_of([]).empty


def test_the_latest_of_a_place_counts(finished):
    records = store.read_records(finished)
    again = {**records[-1], "key": "another budget", "accuracy": 0.5}
    points = points_of([*records, again])
    assert points.index.tolist() == list(range(len(points)))  # in the order shown
    assert len(points) == len(records)
    assert points.set_index("key").loc["another budget", "accuracy"] == 0.5


def test_differences_are_of_the_operator_validation_chose(points):
    second = points[(points["family"] == "searched") & (points["ratio"] == 0.3)].assign(
        name="better on validation", validation=1.0
    )
    both = pd.concat([points, second], ignore_index=True)
    assert both.loc[best_searched(both, 0.3), "name"] == "better on validation"
    assert best_searched(points, 0.77) is None
    gaps = differences(points)
    assert len(gaps) == 8
    assert gaps["p_holm"].tolist() == pytest.approx(holm(gaps["p"].tolist()).tolist())
    for row in gaps.to_dict("records"):
        a = points.set_index("name").loc[row["searched"], "correct"]
        b = points.set_index("name").loc[row["name"], "correct"]
        assert row["difference"] == pytest.approx(a.mean() - b.mean())
        assert row["only_searched"] - row["only_design"] == a.sum() - b.sum()
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p"] == mcnemar(a, b)
    assert differences(points[points["family"] != "searched"]).empty


def test_hypervolumes_of_families_and_of_designs(points):
    volumes = hypervolumes(points)
    family = volumes[volumes["design"] == ""].set_index("family")["hypervolume"]
    assert family["hand-designed"] == pytest.approx(hypervolume(points[points["family"] == "hand-designed"]))
    single = volumes[volumes["design"] != ""]
    assert set(zip(single["design"], single["variant"], strict=True)) == {
        ("fastv", "published"),
        ("fastv", "tuned"),
        ("random", "published"),
        ("random", "tuned"),
        ("zero", "published"),
    }
    assert single["hypervolume"].max() <= family["hand-designed"]


def test_the_report_says_it_all(points, finished):
    header = store.read_header(finished)
    lost = {"status": "unreachable", "name": "vtw at 0.12", "design": "vtw", "variant": "published", "ratio": 0.12}
    unreachable = unreachable_of([{**lost, "reason": "cannot reach it"}])
    text = markdown(header, points, differences(points), hypervolumes(points), unreachable)
    for name in points["name"]:
        assert name in text
    for words in (
        "## At compute ratio 0.3",
        "## Hypervolume",
        "vtw at 0.12: no result: cannot reach it.",
        "48 held-out questions",
        "Unreduced model: ",
        "--designs random,fastv,zero --tune 2 --questions 48 --set steps=4",
        "p < 0.0001" if (differences(points)["p_holm"] < 1e-4).any() else "after Holm",
    ):
        assert words in text
    assert "nan" not in text.lower().replace("zero", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)
    nothing = markdown(header, points.head(1), differences(points.head(1)), hypervolumes(points.head(1)), unreachable)
    assert "Searched minus" not in nothing


HOSTILE = "<script>alert(1)</script>|a\n# b **c** [d](javascript:e)\x1b[31m\u202e"


def test_names_are_no_markup_in_the_report(points, finished):
    header = {**store.read_header(finished), "model": HOSTILE, "device": HOSTILE}
    points = points.assign(name=[f"{HOSTILE}{number}" for number in range(len(points))])
    gaps = differences(points)
    lost = {"status": "unreachable", "name": HOSTILE, "design": HOSTILE, "variant": "", "ratio": 0.1, "reason": HOSTILE}
    text = markdown(header, points, gaps, hypervolumes(points), unreachable_of([lost]))
    text = "\n".join(line for line in text.splitlines() if not line.startswith("    "))  # code is shown as it is
    for part in ("<script", "\n# b", "**c**", "[d](", "\x1b", "\u202e"):
        assert part not in text, part
    assert r"&lt;script\>alert(1)&lt;/script\>\|a \# b \*\*c\*\* \[d\](javascript:e)\\x1b\[31m" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 4
    for lines in tables:
        assert len({line.count("|") - line.count(r"\|") for line in lines}) == 1, lines


def test_small_words():
    assert [p_text(p) for p in (0.5, 0.0123, 1e-9, math.nan)] == ["0.5", "0.012", "< 0.0001", ""]
    assert table(("a", "b"), [(1, "x|y")]).splitlines()[2] == r"| 1 | x\|y |"
    output = {
        "settings": {
            "operators": ["a b.json"],
            "model": "m",
            "ratios": None,
            "designs": [],
            "tune": 0,
            "questions": 5,
            "seeds": 2,
            "search": {"layers": [0, 1], "support": "all"},
        }
    }
    said = reproduce(output)
    assert said.startswith(
        "eos compare 'a b.json' --model m --designs none --questions 5 --seeds 2 --set 'layers=[0, 1]'"
    )
    assert said.endswith("--set support=all")


def test_overlays_take_the_last_site(points, finished):
    records, header = store.read_records(finished), store.read_header(finished)
    kept = kept_of(records, points, header["examples"], "tuned")
    assert kept["column"].unique().tolist() == ["searched", "random, tuned", "fastv, tuned"]
    assert len(kept) == 3 * 2 * 2
    for row in kept.to_dict("records"):
        assert row["caption"].startswith(f"{len(row['origin'])} left, ")
    assert kept_of(records, points, [], "tuned").empty
