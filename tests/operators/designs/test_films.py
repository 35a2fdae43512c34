"""Designs of films against a plain reading of their methods, and what is refused of them."""

import math

import numpy as np
import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import DESIGNS, get_design, suited
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.operators.tokens import Tokens

FRAMES, ROWS, COLUMNS, WIDTH = 8, 3, 4, 16
ONE = ROWS * COLUMNS
TARGET = Target(layers=4, grid=(FRAMES * ROWS, COLUMNS), frames=FRAMES)
FILMS = [name for name, design in DESIGNS.items() if design.films]


def film(seed, still=0.0):
    """(frames, places, width): pictures of which a share of the places hardly changes from one frame to the next."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((FRAMES, ONE, WIDTH))
    for frame in range(1, FRAMES):
        same = rng.random(ONE) < still
        x[frame, same] = x[frame - 1, same] + 0.1 * x[frame, same]
    return x.astype(np.float32)


def deployed(operator, x):
    tokens = Tokens.of(torch.from_numpy(x.reshape(1, -1, WIDTH)))
    for site in operator.sites:
        tokens = reduce(site, tokens, {}, operator.target.axes).tokens
    return tokens


def unlike(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 1 - float(a @ b / math.sqrt((a @ a) * (b @ b)))


def evs(x, keep):
    places = [(t, i) for t in range(FRAMES) for i in range(ONE)]
    worth = [(-255.0 if t == 0 else -unlike(x[t, i], x[t - 1, i]), t * ONE + i) for t, i in places]
    return sorted(place for _, place in sorted(worth)[: max(ONE, keep)])


def kernel(v, centre):
    squared = float(((v - centre) ** 2).sum())
    return sum(math.exp(-squared / (2 * 2.0**k)) for k in (-3, -2, -1, 0, 1))


def vidcom2(x, keep):
    flat = x.astype(np.float64).reshape(-1, WIDTH)
    quiet = sorted(range(WIDTH), key=lambda c: flat[:, c].var())[: WIDTH // 2]
    y = x.astype(np.float64)[:, :, quiet]
    y = y / np.sqrt((y**2).sum(-1, keepdims=True))
    centre = y.reshape(-1, len(quiet)).mean(0)
    of_film = [[kernel(v, centre) for v in y[t]] for t in range(FRAMES)]
    of_frame = [[kernel(v, y[t].mean(0)) for v in y[t]] for t in range(FRAMES)]
    degree = np.array([-np.mean(row) / 0.01 for row in of_film])
    degree = np.exp(degree - degree.max())
    degree /= degree.sum()
    share = 1 + degree - degree.mean()
    exact = keep * share / share.sum()
    counts = [math.floor(value + 1e-6) for value in exact]
    for t in sorted(range(FRAMES), key=lambda t: -round(share[t], 6))[: keep - sum(counts)]:
        counts[t] += 1
    both = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(of_film, of_frame, strict=True)]
    kept, left = [], []
    for t in range(FRAMES):
        order = sorted(range(ONE), key=lambda i: both[t][i])
        kept += [t * ONE + i for i in order[: counts[t]]]
        left += [(both[t][i], t * ONE + i) for i in order[counts[t] :]]
    kept += [place for _, place in sorted(left)[: keep - len(kept)]]  # where a frame's share is more than it has
    return sorted(kept)


def dycoke(x, keep):
    share = (keep / ONE - FRAMES / 4) / (FRAMES - FRAMES / 4)
    exact = [ONE if t % 4 == 0 else share * ONE for t in range(FRAMES)]
    counts = [math.floor(value + 1e-4) for value in exact]
    for t in sorted(range(FRAMES), key=lambda t: -exact[t])[: keep - sum(counts)]:
        counts[t] += 1
    kept = []
    over = 0
    spare = []
    for t in range(FRAMES):
        if t % 4 == 0:
            kept += range(t * ONE, (t + 1) * ONE)
            over += counts[t] - ONE
            continue
        against = x[t - 1] if t % 2 else x[t - 2]
        order = sorted(range(ONE), key=lambda i: -unlike(x[t, i], against[i]))
        kept += [t * ONE + i for i in order[: counts[t]]]
        spare += [(-unlike(x[t, i], against[i]), t * ONE + i) for i in order[counts[t] :]]
    return sorted(kept + [place for _, place in sorted(spare)[:over]])


@pytest.mark.parametrize("still", [0.0, 0.6])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "method", "keeps"),
    [("evs", evs, (12, 13, 30, 95)), ("vidcom2", vidcom2, (1, 7, 24, 48, 95)), ("dycoke", dycoke, (24, 42, 60, 95))],
)
def test_what_stays_is_what_the_method_keeps(name, method, keeps, seed, still):
    x = film(seed, still)
    for keep in keeps:
        operator = DESIGNS[name].build(TARGET, keep)
        tokens = deployed(operator, x)
        assert tokens.origin_bn[0].tolist() == method(x, keep), keep
        assert torch.equal(tokens.x_bnd[0], torch.from_numpy(x.reshape(-1, WIDTH))[tokens.origin_bn[0]])


def test_of_equally_large_changes_the_earlier_counts():
    x = np.zeros((FRAMES, ONE, WIDTH), np.float32)
    x[..., 0] = 1
    x[3:, 2, :2] = 0, 1  # one place changes once, all others never
    for keep in (12, 13, 14, 20):
        places = deployed(DESIGNS["evs"].build(TARGET, keep), x).origin_bn[0].tolist()
        changed = [] if keep == ONE else [3 * ONE + 2]
        assert places == sorted([*range(keep - len(changed)), *changed])


@pytest.mark.parametrize("seed", range(4))
def test_framefusion_averages_runs_into_their_first_token(seed):
    x = film(seed, 0.5)
    for keep in (12, 40, 90):
        tokens = deployed(DESIGNS["framefusion"].build(TARGET, keep), x)
        kept = set(evs(x, keep))
        runs = {}
        for place in range(FRAMES * ONE):
            first = place
            while first not in kept:
                first -= ONE
            runs.setdefault(first, []).append(place)
        assert tokens.origin_bn[0].tolist() == sorted(runs)
        flat = torch.from_numpy(x.reshape(-1, WIDTH)).double()
        for row, first in enumerate(sorted(runs)):
            torch.testing.assert_close(tokens.x_bnd[0, row].double(), flat[runs[first]].mean(0), rtol=1e-5, atol=1e-5)
            assert tokens.size_bn[0, row] == len(runs[first])


def test_whole_frames_are_whole_and_evenly_spread():
    places = deployed(DESIGNS["whole-frames"].build(TARGET, 30), film(0)).origin_bn[0]
    assert places.tolist() == [*range(2 * ONE, 3 * ONE), *range(6 * ONE, 7 * ONE)]


@pytest.mark.parametrize("name", FILMS)
def test_designs_of_films_build_run_and_are_written(name):
    design = get_design(name)
    for target in (TARGET, Target(layers=6, grid=(10, 5), frames=2), Target(layers=2, grid=(7, 3), frames=7)):
        one = target.tokens // target.frames
        for tokens in (one, target.tokens / 2, target.tokens - 0.4):
            if tokens < design.least(target):
                continue
            operator = design.build(target, tokens)
            assert operator.mean_tokens <= tokens
            assert design.coarse or operator.mean_tokens > tokens - 1
            assert operator.regime == design.regime
            assert OperatorSpec.from_json(operator.to_json()) == operator
    assert get_design(name).build(TARGET, TARGET.tokens).sites == ()


@pytest.mark.parametrize("name", FILMS)
def test_single_pictures_are_refused_and_not_offered(name):
    with pytest.raises(EosError, match=f"design '{name}': looks across the frames of a film"):
        get_design(name).build(Target(layers=4, grid=(4, 4)), 8)
    assert name in suited(2)
    assert name not in suited()


@pytest.mark.parametrize(
    ("name", "tokens"), [("evs", 11), ("framefusion", 11), ("whole-frames", 11), ("dycoke", 23), ("fastvid", 7)]
)
def test_fewer_tokens_than_the_whole_frames_have_are_refused(name, tokens):
    with pytest.raises(EosError, match="fewer than the"):
        get_design(name).build(TARGET, tokens)
