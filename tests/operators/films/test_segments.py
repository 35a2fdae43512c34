"""FastVID, PruneVid and HoliTom before the language model, against plain readings of their methods, token by token."""

import itertools
import math

import numpy as np
import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.films.cuts import most_redundant, segments_of
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import OperatorSpec, Segments, SiteSpec, Target, Transfer
from eos_platform.operators.tokens import Tokens

FRAMES, ONE, WIDTH = 12, 12, 16
TARGET = Target(layers=4, grid=(FRAMES * 3, 4), frames=FRAMES)
NAMES = ("fastvid", "prunevid", "holitom")


def scenes(seed, quiet=0.7):
    """(frames, places, width): a few scenes; within one most places hardly change, some all the time; and what matters.

    Every distance, cosine and score differs from every other, so that no order hangs on rounding."""
    rng = np.random.default_rng(seed)
    x = np.zeros((FRAMES, ONE, WIDTH))
    cuts = sorted(rng.choice(np.arange(1, FRAMES), 2, replace=False))
    for t in range(FRAMES):
        if t == 0 or t in cuts:
            ground, still = rng.standard_normal((ONE, WIDTH)) + rng.standard_normal(WIDTH), rng.random(ONE) < quiet
        fresh = rng.standard_normal((ONE, WIDTH))
        x[t] = np.where(still[:, None], ground + 0.2 * fresh, ground.mean(0) + fresh)
    return x.astype(np.float32), rng.random((FRAMES, ONE)).astype(np.float32)


def cosine(a, b):
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def apart(a, b):
    return math.sqrt(float(((a - b) ** 2).mean()))


def by_gaps(x, parts, alike):
    means = x.mean(1)
    alikes = [cosine(means[t - 1], means[t]) for t in range(1, FRAMES)]
    least = sorted(range(FRAMES - 1), key=lambda i: alikes[i])[: parts - 1]
    return runs([i in least or alikes[i] < alike for i in range(FRAMES - 1)])


def dense(points, k):
    """Indices of points, the best centre first."""
    density = [-np.mean(sorted(apart(a, b) ** 2 for b in points)[:k]) for a in points]
    widest = max((apart(a, b) for a in points for b in points), default=0.0)
    worth = []
    for i, a in enumerate(points):
        denser = [
            apart(a, b) for j, b in enumerate(points) if density[j] > density[i] or (density[j] == density[i] and j < i)
        ]
        gap = min([*denser, widest])
        worth.append(density[i] + (math.log(gap) if gap > 0 else -math.inf))
    return sorted(range(len(points)), key=lambda i: -worth[i])


def by_clusters(x, share, k):
    means = list(x.mean(1))
    centres = dense(means, k)[: math.ceil(share * FRAMES)]
    cluster = [min(centres, key=lambda c: apart(mean, means[c])) for mean in means]
    return runs([a != b for a, b in itertools.pairwise(cluster)])


def runs(cuts):
    found = [[0]]
    for i, cut in enumerate(cuts):
        if cut:
            found.append([])
        found[-1].append(i + 1)
    return found


def repeated(same, segment):
    """Places that never change in it."""
    if len(segment) < 2:
        return []
    return [i for i in range(same.shape[1]) if all(same[t - 1, i] for t in segment[1:])]


def by_redundancy(same):
    """All ways to cut, the best: of equals the one whose last segments begin earliest."""
    frames = len(same) + 1
    ways = [runs(cuts) for cuts in itertools.product([False, True], repeat=frames - 1)]

    def worth(way):
        return sum(len(repeated(same, segment)) * (len(segment) - 1) for segment in way)

    best = max(map(worth, ways))
    return min((way for way in ways if worth(way) == best), key=lambda way: [s[0] for s in reversed(way)])


def shared(weights, keep):
    """Counts by name: rounded down, the largest shares one more."""
    total = sum(weights.values())
    counts = {name: math.floor(keep * weight / total + 1e-5) for name, weight in weights.items()}
    for name in sorted(weights, key=lambda name: -weights[name])[: keep - sum(counts.values())]:
        counts[name] += 1
    return counts


def mixed(centre, others, own):
    if not others:
        return centre
    return own * centre + (1 - own) * np.mean(others, 0)


def fastvid(x, score, keep, parts=8, alike=0.9):
    segments = by_gaps(x, parts, alike)
    anchors = {t for s in segments for t in s[::-1][::4]}
    weights = {("salient", t): 0.6 * ONE for t in range(FRAMES)}
    for s in segments:
        mine = [t for t in s if t in anchors]
        weights |= {("centres", t): 0.4 * ONE * len(s) / len(mine) for t in mine}
    counts = shared(weights, keep)
    stays, joined = {}, {}
    salient = {t: sorted(range(ONE), key=lambda i: -score[t, i])[: counts["salient", t]] for t in range(FRAMES)}
    for s in segments:
        for t in s:
            stays |= {(t, i): x[t, i] for i in salient[t]}
        for anchor in (t for t in s if t in anchors):
            left = [i for i in range(ONE) if i not in salient[anchor]]
            order = dense([x[anchor, i] for i in left], 4)
            centres = [left[i] for i in order[: counts["centres", anchor]]]
            joined |= {(anchor, i): [] for i in centres}
            for t in s:
                for i in range(ONE):
                    if i in salient[t] or (t == anchor and i in centres) or not centres:
                        continue
                    to = max(centres, key=lambda c: cosine(x[t, i], x[anchor, c]))
                    joined[anchor, to].append(x[t, i])
    return stays | {at: mixed(x[at], others, 0.6) for at, others in joined.items()}


def of_sets(x, segments, still, keep, k, own, score):
    """Still places of a segment as one token each in its first frame; then each set keeps its share."""
    stays, sets = {}, {}
    for number, s in enumerate(segments):
        sets["still", number] = {(s[0], i): x[s, i].mean(0) for i in still[number]}
        for t in s:
            sets["moving", t] = {(t, i): x[t, i] for i in range(ONE) if i not in still[number]}
    order = [("moving", t) for t in range(FRAMES)] + [("still", n) for n in range(len(segments))]
    counts = shared({name: len(sets[name]) for name in order if sets[name]}, keep)
    for name, count in counts.items():
        places, values = list(sets[name]), list(sets[name].values())
        if name[0] == "moving" and score is not None:
            best = sorted(places, key=lambda at: -score[at])[:count]
            stays |= {at: x[at] for at in best}
            continue
        centres = dense(values, k)[:count]
        others = {c: [] for c in centres}
        for i, value in enumerate(values):
            if i not in centres and centres:
                others[max(centres, key=lambda c: cosine(value, values[c]))].append(value)
        for c in centres:
            weight = 1 / (1 + len(others[c])) if own is None else own
            stays[places[c]] = mixed(values[c], others[c], weight)
    return stays


def prunevid(x, score, keep):
    segments = by_clusters(x, 0.25, 5)
    still = []
    for s in segments:
        pairs = list(itertools.combinations(s, 2))
        still.append([i for i in range(ONE) if pairs and np.mean([cosine(x[a, i], x[b, i]) for a, b in pairs]) > 0.8])
    return of_sets(x, segments, still, keep, 5, None, None)


def holitom(x, score, keep):
    same = np.array([[cosine(x[t - 1, i], x[t, i]) > 0.8 for i in range(ONE)] for t in range(1, FRAMES)])
    segments = by_redundancy(same)
    return of_sets(x, segments, [repeated(same, s) for s in segments], keep, 7, 0.6, score)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "method", "keeps"),
    [("fastvid", fastvid, (14, 36, 50)), ("prunevid", prunevid, (5, 20, 36)), ("holitom", holitom, (5, 20, 36))],
)
def test_tokens_are_those_of_the_method(name, method, keeps, seed):
    x, score = scenes(seed)
    for keep in keeps:
        operator = next(
            made
            for tokens in np.arange(1.0, TARGET.tokens, 0.25)
            if tokens >= DESIGNS[name].least(TARGET)
            and (made := DESIGNS[name].build(TARGET, tokens)).sites[0].keep == keep
        )
        given = {"received": torch.from_numpy(score.reshape(1, -1))}
        tokens = reduce(operator.sites[0], Tokens.of(torch.from_numpy(x.reshape(1, -1, WIDTH))), given, TARGET.axes)[0]
        expected = method(x.astype(np.float64), score, keep)
        places = [divmod(place, ONE) for place in tokens.origin_bn[0].tolist()]
        assert len(expected) == keep
        assert places == sorted(expected)
        values = torch.from_numpy(np.stack([expected[place] for place in places]))
        torch.testing.assert_close(tokens.x_bnd[0].double(), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keep", [14, 36])
def test_long_segments_have_centres_in_several_frames(keep):
    x, score = scenes(3)
    site = DESIGNS["fastvid"].build(TARGET, keep).sites[0]
    rule = site.segments.model_copy(update={"parts": 2, "alike": -1.0})
    given = {"received": torch.from_numpy(score.reshape(1, -1))}
    film = Tokens.of(torch.from_numpy(x.reshape(1, -1, WIDTH)))
    tokens = reduce(site.model_copy(update={"segments": rule}), film, given, TARGET.axes).tokens
    expected = fastvid(x.astype(np.float64), score, keep, 2, -1.0)
    places = [divmod(place, ONE) for place in tokens.origin_bn[0].tolist()]
    assert places == sorted(expected)
    values = torch.from_numpy(np.stack([expected[place] for place in places]))
    torch.testing.assert_close(tokens.x_bnd[0].double(), values, rtol=1e-4, atol=1e-5)
    assert tokens.size_bn.sum() == pytest.approx(TARGET.tokens)


@pytest.mark.parametrize("seed", range(6))
def test_the_cut_with_the_most_redundancy_is_found(seed):
    same = np.random.default_rng(seed).random((7, 5)) < 0.75
    found = most_redundant(torch.from_numpy(same)[None])[0].tolist()
    assert found == [number for number, s in enumerate(by_redundancy(same)) for _ in s]


def test_segments_of_one_picture_shown_again_and_again():
    x = torch.zeros(1, FRAMES, ONE, WIDTH)
    x[..., 0] = 1
    for rule in (Segments(cut="static", still="each"), Segments(cut="gaps", alike=0.9), Segments(cut="clusters")):
        assert segments_of(rule, x).unique().numel() == 1
    assert segments_of(Segments(cut="gaps", parts=3), x).unique().numel() == 3
    assert segments_of(Segments(cut="gaps", parts=99), x)[0].tolist() == list(range(FRAMES))


@pytest.mark.parametrize("name", NAMES)
def test_as_many_stay_as_are_asked_for_even_of_a_film_that_stands_still(name):
    """Then repetitions stay, or centres that nobody joins; prompts of a batch do not meet."""
    moving, score = scenes(1)
    x = torch.from_numpy(
        np.stack([moving, np.repeat(moving[:1], FRAMES, 0), np.ones_like(moving)]).reshape(3, -1, WIDTH)
    )
    given = {"received": torch.from_numpy(np.stack([score, 0 * score, score]).reshape(3, -1))}
    for share in (0.15, 0.5, 0.9):
        site = DESIGNS[name].build(TARGET, share * TARGET.tokens).sites[0]
        tokens = reduce(site, Tokens.of(x), given, TARGET.axes).tokens
        assert tokens.x_bnd.shape == (3, site.keep, WIDTH)
        assert tokens.x_bnd.isfinite().all()
        assert (tokens.origin_bn.diff(dim=-1) > 0).all()
        for row in range(3):
            one = {"received": given["received"][row : row + 1]}
            alone = reduce(site, Tokens.of(x[row : row + 1]), one, TARGET.axes).tokens
            assert torch.equal(alone.origin_bn[0], tokens.origin_bn[row])
            torch.testing.assert_close(alone.x_bnd[0], tokens.x_bnd[row])
        as_is = site.model_copy(update={"transfer": Transfer()})
        kept = reduce(as_is, Tokens.of(x), given, TARGET.axes).tokens
        if name == "fastvid":
            assert torch.equal(kept.origin_bn, tokens.origin_bn)
        assert torch.equal(kept.x_bnd, x.take_along_dim(kept.origin_bn[..., None], 1))


def test_clusters_alone_lose_no_token():
    """Every token that stands for several does so once: sizes add up to the film's."""
    x, _ = scenes(2)
    site = DESIGNS["prunevid"].build(TARGET, 40).sites[0]
    tokens = reduce(site, Tokens.of(torch.from_numpy(x.reshape(1, -1, WIDTH))), {}, TARGET.axes).tokens
    assert tokens.size_bn.sum() == TARGET.tokens


def test_what_cannot_be_is_refused():
    rule = Segments(cut="gaps", parts=3)
    site = {"layer": 0, "scope": "film", "keep": 9, "selector": "segments", "segments": rule}
    assert (
        OperatorSpec.from_json(OperatorSpec(target=TARGET, sites=(SiteSpec(**site),)).to_json()).sites[0].segments
        == rule
    )
    for change, why in (
        ({"scope": "frame"}, "cuts a film"),
        ({"segments": None}, "exactly when"),
        ({"selector": "score", "score": {"norm": 1.0}}, "exactly when"),
        ({"transfer": Transfer(gamma=0.5)}, "says itself who joins whom"),
        ({"rho": 1.0}, "says itself who joins whom"),
        ({"segments": Segments(cut="gaps", salient=0.5)}, "at least one feature"),
    ):
        with pytest.raises(ValueError, match=why):
            SiteSpec(**{**site, **change})
    with pytest.raises(ValueError, match="still 'each'"):
        Segments(cut="static")
    with pytest.raises(ValueError, match="still 'none'"):
        Segments(cut="gaps", still="mean", reach="segment")
    before = SiteSpec(layer=0, scope="film", keep=99, score={"norm": 1.0})
    with pytest.raises(ValueError, match="needs all 144 tokens of the film, not 99"):
        OperatorSpec(target=TARGET, sites=(before, SiteSpec(**site)))
    with pytest.raises(EosError, match="needs all 144 tokens"):
        reduce(SiteSpec(**site), Tokens.of(torch.zeros(1, 100, 4)), {}, TARGET.axes)
