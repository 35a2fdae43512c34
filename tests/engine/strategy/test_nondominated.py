"""Ranking with several objectives, against the definitions written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eos_platform.engine.strategy.nondominated import best_first, layers

VALUE = st.one_of(st.integers(0, 4).map(float), st.just(math.nan))
POINTS = st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=12)
TIES = ("epsilon-net", "crowding")


def dominates(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def layers_by_definition(points):
    """A point's layer is one more than the highest layer among the points that dominate it."""
    known = [point for point in points if not any(map(math.isnan, point))]

    def layer(point):
        return max((1 + layer(other) for other in known if dominates(other, point)), default=0)

    last = 1 + max(map(layer, known)) if known else 0
    return [last if any(map(math.isnan, point)) else layer(point) for point in points]


@given(POINTS)
def test_layers_are_those_of_the_definition(points):
    assert layers(np.array(points)).tolist() == layers_by_definition(points)


@given(POINTS, st.sampled_from(TIES), st.randoms(use_true_random=False))
def test_the_order_goes_by_layers_and_does_not_depend_on_who_came_first(points, tie_break, random):
    keys = list(range(len(points)))
    order = best_first(np.array(points), keys, tie_break)
    assert sorted(order) == keys
    layer = layers_by_definition(points)
    assert [layer[row] for row in order] == sorted(layer)
    random.shuffle(keys)
    shuffled = best_first(np.array([points[key] for key in keys]), keys, tie_break)
    assert [keys[row] for row in shuffled] == order


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8, unique=True))
def test_the_epsilon_net_takes_the_furthest_of_the_layer(points):
    """Each point taken is, within its layer, as far from those taken before as any that is left."""
    points = np.array(points, float)
    order, layer = best_first(points, range(len(points))), layers(points)
    for number in range(layer.max() + 1):
        members = [row for row in order if layer[row] == number]
        inside = points[members]
        size = np.where(np.ptp(inside, axis=0) > 0, np.ptp(inside, axis=0), 1.0)
        scaled = (inside - inside.min(0)) / size
        assert scaled[0][0] == 0  # the best in the first objective
        for place in range(1, len(members)):
            to_taken = [min(np.linalg.norm(scaled[k] - scaled[t]) for t in range(place)) for k in range(len(members))]
            assert to_taken[place] == pytest.approx(max(to_taken[place:]))


@pytest.mark.parametrize("tie_break", TIES)
def test_the_ends_of_a_front_come_first(tie_break):
    front = np.array([[0.0, 4.0], [1.0, 2.9], [1.1, 2.8], [2.0, 2.0], [4.0, 0.0]])
    order = best_first(front, range(5), tie_break)
    assert set(order[:2]) == {0, 4}
    assert order[2] == {"epsilon-net": 3, "crowding": 3}[tie_break]


@pytest.mark.parametrize("tie_break", TIES)
def test_equal_points_go_by_their_keys(tie_break):
    points = np.array([[1.0, 1.0]] * 3 + [[0.0, 2.0]])
    order = best_first(points, [7, 3, 5, 9], tie_break)
    assert [row for row in order if row < 3] == [1, 2, 0]


def test_nothing_is_in_order():
    assert best_first(np.empty((0, 2)), []) == []


def taken_farthest_first(points):
    """The greedy choice written out: the best in the first objective, then whoever is furthest from all taken."""
    low, high = np.min(points, 0), np.max(points, 0)
    scaled = [tuple((p - low) / np.where(high > low, high - low, 1.0)) for p in points]
    order = [min(range(len(points)), key=lambda row: (*points[row], row))]
    while len(order) < len(points):
        left = [row for row in range(len(points)) if row not in order]
        order.append(max(left, key=lambda row: (min(math.dist(scaled[row], scaled[t]) for t in order), -row)))
    return order


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([2, 3]))
def test_a_long_front_is_taken_farthest_first(seed, count, objectives):
    """No point dominates another, units differ by far, and no two distances are equal."""
    rng = np.random.default_rng(seed)
    simplex = rng.dirichlet(np.ones(objectives), size=count)  # what one objective gains another loses
    points = simplex * np.array([1.0, 300.0, 0.02])[:objectives] + np.array([5.0, -7.0, 0.0])[:objectives]
    assert layers(points).tolist() == [0] * count
    assert best_first(points, range(count)) == taken_farthest_first(points)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_a_long_front_is_taken_by_the_room_between_neighbours(seed, count):
    """Crowding distance: over all objectives, the gap between a point's neighbours as a share of the whole range."""
    rng = np.random.default_rng(seed)
    ahead = np.sort(rng.random(count)) * 40
    points = np.stack([ahead, -3 * ahead + 0.01 * np.sort(rng.random(count))[::-1]], 1)
    room = []
    for row in range(count):
        gaps = []
        for column in points.T:
            place = sorted(column).index(column[row])
            inside = 0 < place < count - 1
            gap = sorted(column)[place + 1] - sorted(column)[place - 1] if inside else math.inf
            gaps.append(gap / (np.ptp(column) or 1.0))
        room.append(sum(gaps))
    order = best_first(points, range(count), "crowding")
    assert order == sorted(range(count), key=lambda row: (-room[row], row))
