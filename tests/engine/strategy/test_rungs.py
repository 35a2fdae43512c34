"""Decisions at rungs and over the budget, against rules written out."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos_platform.engine.strategy.rungs import InterimEvaluation, Rungs, judge_budget, rung_levels, rungs_of, survivors

POINT = st.tuples(
    st.one_of(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.just(math.nan)), st.sampled_from([0.1, 0.2, 0.3, 0.4])
)


def dominated(point, others):
    return any(a >= point[0] and c <= point[1] and (a, c) != point for a, c in others)


@given(
    st.lists(POINT, min_size=1, max_size=14), st.sampled_from([1.5, 2.0, 3.0, 4.0]), st.integers(2, 5), st.booleans()
)
def test_who_stops_at_a_rung(points, reduction, least, spare):
    """Never before the rung has enough results, never one of the front when that is spared, and then by share: no
    search stops that fewer than the share are better than, and the worst of the rung does."""
    rungs = Rungs(reduction, least, spare_front=spare)
    for search, point in enumerate(points):
        rungs.record(9, search, point)
    verdicts = {search: rungs.judge(9, search) for search in range(len(points))}
    stopped = {search for search, why in verdicts.items() if why}
    if len(points) < least:
        assert not stopped
        return
    known = [point for point in points if not math.isnan(point[0])]
    front = {s for s, point in enumerate(points) if not math.isnan(point[0]) and not dominated(point, known)}
    allowed = survivors(len(points), reduction)
    if spare:
        assert not stopped & front
        assert len(points) - len(stopped) == allowed or len(points) - len(stopped) == len(
            {s for s in range(len(points)) if s not in stopped} | front
        )
    else:
        assert len(points) - len(stopped) == allowed
    for search in stopped:  # whoever stops leaves nobody behind that goes on and is clearly worse
        for other in set(range(len(points))) - stopped:
            assert not dominated(points[other], [points[search]]) or math.isnan(points[search][0])
    unknown = {search for search, point in enumerate(points) if math.isnan(point[0])}
    if len(known) >= allowed:
        assert unknown <= stopped


@given(st.lists(POINT, min_size=4, max_size=12), st.integers(0, 99))
def test_the_same_results_in_another_order_of_arrival_rank_the_same(points, seed):
    order = list(range(len(points)))
    random.Random(seed).shuffle(order)
    one, other = Rungs(2.0, 4), Rungs(2.0, 4)
    for search in range(len(points)):
        one.record(3, search, points[search])
    for search in order:
        other.record(3, search, points[search])
    assert [one.judge(3, s) for s in range(len(points))] == [other.judge(3, s) for s in range(len(points))]


def test_a_search_that_comes_again_takes_its_old_place():
    rungs = Rungs(2.0, 2)
    rungs.record(5, 0, (0.5, 0.2))
    rungs.record(5, 0, (0.5, 0.2))
    assert rungs.reached == {5: {0: (0.5, 0.2)}}
    assert rungs.judge(5, 0) is None


def test_the_reason_says_by_whom():
    rungs = Rungs(2.0, 2)
    rungs.record(5, 3, (0.8, 0.2))
    rungs.record(5, 4, (0.7, 0.3))
    assert rungs.judge(5, 3) is None
    assert rungs.judge(5, 4) == (
        "step 5: rank 2 of 2, 1 go on; accuracy 70.0% at compute ratio 0.300 is dominated, by trial 3's 80.0% at 0.200 "
        "for one"
    )
    rungs.record(5, 5, (math.nan, 0.1))
    assert rungs.judge(5, 5) == "step 5: rank 3 of 3, 2 go on; its accuracy or compute ratio is not a number"
    crowded = Rungs(2.0, 2, spare_front=False)
    for search, point in enumerate([(0.9, 0.4), (0.1, 0.1), (0.89, 0.39), (0.5, 0.2)]):
        crowded.record(5, search, point)
    assert "too like others of the front" in (crowded.judge(5, 2) or "")


@pytest.mark.parametrize(
    ("grace", "reduction", "steps", "levels"),
    [(10, 3.0, 100, [10, 30, 90]), (10, 3.0, 99, [10, 30]), (4, 2.0, 40, [4, 8, 16, 32]), (50, 2.0, 50, [])],
)
def test_rungs_lie_reduction_apart_and_before_the_end(grace, reduction, steps, levels):
    assert rung_levels(grace, reduction, steps) == levels


def test_one_in_reduction_survives():
    assert [survivors(n, 3.0) for n in (1, 2, 3, 4, 6, 7)] == [1, 1, 1, 2, 2, 3]


def seen(step, ratio=0.2, accuracy=0.5):
    return InterimEvaluation(step, (accuracy, ratio), ratio)


def test_a_rung_is_reached_at_the_first_evaluation_at_or_after_it():
    course = [seen(4, accuracy=0.1), seen(8, accuracy=0.2), seen(12, accuracy=0.3), seen(40, accuracy=0.4)]
    assert rungs_of(course, [5, 15, 30]) == {5: (0.2, 0.2), 30: (0.4, 0.2)}
    assert rungs_of(reversed(course), [5, 15, 30]) == rungs_of(course, [5, 15, 30])
    assert rungs_of([], [5]) == {}


@given(st.lists(st.floats(0.05, 1.0), min_size=3, max_size=10), st.floats(0.05, 0.5), st.integers(20, 200))
def test_a_search_that_twice_its_best_pace_would_bring_to_its_budget_goes_on(ratios, budget, last):
    course = [seen(10 * (place + 1), ratio) for place, ratio in enumerate(ratios)]
    step, now = course[-1].step, ratios[-1]
    fastest = max([0.0, *((a - b) / 10 for a, b in itertools.pairwise(ratios))])
    hopeless = step < last and now > budget * 1.02 and now - 2 * fastest * (last - step) > budget * 1.02
    why = judge_budget(course, budget, last)
    assert bool(why) == hopeless
    assert why is None or f"step {step}: compute ratio" in why


def test_unknown_ratios_stop_nobody():
    assert judge_budget([seen(step, math.nan) for step in (1, 2, 3, 4)], 0.1, 100) is None
    assert judge_budget([seen(1, 0.9), seen(2, 0.9)], 0.1, 100) is None, "two reports show no pace"
    assert judge_budget([seen(1, 0.9), seen(2, 0.9), seen(3, 0.9)], 0.1, 100)
