"""Features of films against a plain reading, whatever is left of the film; places that are refused."""

import math

import pytest
import torch
from pydantic import ValidationError

from eos_platform.common.errors import EosError
from eos_platform.operators.films.features import NEW, film_feature
from eos_platform.operators.grid import as_films, layout
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.reduce import reduce
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec, Quota, SiteSpec, Support, Target, Transfer
from eos_platform.operators.tokens import Tokens

GRID, ONE = (6, 2, 3), 6
FILM = Target(layers=4, grid=(12, 3), frames=6)


def left_of_a_film(seed, share=0.6):
    """Tokens of two films of which as many are left, other ones of each."""
    draw = torch.Generator().manual_seed(seed)
    keep = int(36 * share)
    origin_bn = torch.stack([torch.randperm(36, generator=draw)[:keep].sort().values for _ in range(2)])
    return torch.randn(2, keep, 8, generator=draw), origin_bn, torch.rand(2, keep, generator=draw) < 0.7


def changed(x, places, there, i, back):
    """1 - cosine of token i to the one that ``back`` names, as its frames are asked."""
    for earlier in back:
        wanted = places[i] - earlier * ONE
        if wanted >= 0 and wanted in places and there[places.index(wanted)]:
            j = places.index(wanted)
            return 1 - float(torch.cosine_similarity(x[i].double(), x[j].double(), dim=0))
    return NEW


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["change", "paired_change"])
@pytest.mark.parametrize("partly", [False, True])
def test_changes_are_against_what_is_left_of_earlier_frames(name, partly, seed):
    x_bnd, origin_bn, there_bn = left_of_a_film(seed)
    there_bn = there_bn if partly else torch.ones_like(there_bn)
    found = film_feature(name, x_bnd, origin_bn, GRID, there_bn.float() if partly else None)
    for row in range(2):
        places, there = origin_bn[row].tolist(), there_bn[row].tolist()
        for i, place in enumerate(places):
            frame = place // ONE
            paired = [1] if frame % 2 else [2] if frame % 4 == 2 else [4]
            back = paired if name == "paired_change" else range(1, frame + 1)
            assert float(found[row, i]) == pytest.approx(changed(x_bnd[row], places, there, i, back), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_kernels_of_what_is_left_of_a_film(seed):
    x_bnd, origin_bn, _ = left_of_a_film(seed)
    both, film = (film_feature(name, x_bnd, origin_bn, GRID) for name in ("film_uniqueness", "film_distance"))
    for row in range(2):
        x = x_bnd[row].double()
        quiet = x.var(0, correction=0).sort(stable=True).indices[:4]
        y = torch.nn.functional.normalize(x[:, quiet], dim=-1)
        for i, place in enumerate(origin_bn[row].tolist()):
            mates = [j for j, other in enumerate(origin_bn[row].tolist()) if other // ONE == place // ONE]
            like = [
                sum(math.exp(-float((y[i] - centre).square().sum()) / (2 * 2.0**k)) for k in range(-3, 2))
                for centre in (y.mean(0), y[mates].mean(0))
            ]
            assert float(film[row, i]) == pytest.approx(-like[0], abs=1e-4)
            assert float(both[row, i]) == pytest.approx(-sum(like), abs=1e-4)


def test_a_film_of_one_frame_is_a_picture():
    """Whatever looks at no other frame is to the bit what it is for pictures; all of it is new."""
    x_bnd = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
    for fields in (
        {"score": {"norm": 1.0, "uniqueness": 0.3}, "transfer": Transfer(gamma=1.0, tau=0.2)},
        {"selector": "grid", "transfer": Transfer(gamma=1.0, tau=math.inf, support=Support(kind="window", size=4))},
        {"selector": "alternate", "transfer": Transfer(gamma=1.0, to="destinations")},
    ):
        found = [
            reduce(SiteSpec(layer=0, keep=6, scope=scope, **fields), Tokens.of(x_bnd), {}, grid)
            for scope, grid in (("frame", (3, 4)), ("film", (1, 3, 4)))
        ]
        assert all(torch.equal(a, b) for a, b in zip(*(one.tokens for one in found), strict=True))
    origin_bn = torch.arange(12).expand(2, -1)
    assert (film_feature("change", x_bnd, origin_bn, (1, 3, 4)) == NEW).all()


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 12, 18, 30, 36])
def test_blocks_of_a_film_run_over_frames_and_fill_it(size):
    found = layout(GRID, size)
    assert len(found.window) == 36
    assert sorted(set(found.window)) == list(range(size)) == list(range(len(found.anchor)))
    assert [found.window[place] for place in found.anchor] == list(range(size))
    assert list(found.anchor) == sorted(found.anchor)
    for block in range(size):  # a run of frames, the same places in each
        cells = [place for place in range(36) if found.window[place] == block]
        frames = sorted({place // ONE for place in cells})
        assert frames == list(range(frames[0], frames[-1] + 1))
        assert len({frozenset(p % ONE for p in cells if p // ONE == frame) for frame in frames}) == 1


def test_a_film_cannot_be_cut_into_more_blocks_than_tokens():
    with pytest.raises(EosError, match="a film of 6x2x3 tokens cannot be cut into 37 blocks"):
        layout(GRID, 37)
    assert as_films((((2, 3), 4), ((5, 5), 1))) == (((4, 2, 3), 1), ((1, 5, 5), 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"place": "tower", "scope": "film"}, "frames go through the vision tower one by one"),
        ({"score": {"change": 1.0}}, "feature 'change' looks across the frames of a film: scope 'film'"),
        ({"transfer": {"gamma": 1.0, "support": {"kind": "tube"}}}, "support 'tube' runs across the frames"),
        ({"quota": {"kind": "frames"}}, "a quota of frames is of a film: scope 'film'"),
        ({"scope": "film", "quota": {"kind": "strips", "groups": 4}}, "strips are of single pictures"),
        ({"scope": "film", "quota": {"kind": "frames", "groups": 4}}, "leave 'groups' out"),
        ({"scope": "film", "quota": {"kind": "windows"}}, "a quota of windows needs 'groups'"),
        ({"scope": "film", "quota": {"kind": "frames", "share": "softmax"}}, "'feature' is given exactly when"),
        ({"scope": "film", "quota": {"kind": "frames", "share": "listed", "weights": [0.0]}}, "one of them above 0"),
        ({"quota": {"kind": "windows", "groups": 4, "share": "listed", "weights": [1.0]}}, "is of a quota of frames"),
        (
            {"scope": "film", "quota": {"kind": "frames", "share": "softmax", "feature": "chnge"}},
            "did you mean 'change'",
        ),
        ({"scope": "films"}, "'frame' or 'film'"),
    ],
)
def test_what_films_do_not_have_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        SiteSpec.model_validate({"layer": 0, "keep": 6, "score": {"norm": 1.0}, **fields})


def test_one_operator_has_one_scope_and_a_target_has_whole_frames():
    film = SiteSpec(layer=0, keep=9, scope="film", score={"change": 1.0})
    with pytest.raises(ValidationError, match=r"sites.1: scope 'frame' beside 'film'"):
        OperatorSpec(target=FILM, sites=(film, SiteSpec(layer=1, keep=6, score={"norm": 1.0})))
    with pytest.raises(ValidationError, match="frames: 12 rows are not those of 5 equal frames"):
        Target(layers=2, grid=(12, 3), frames=5)
    with pytest.raises(EosError, match="no relaxed form"):
        RelaxedSite.of(film.model_copy(update={"transfer": Transfer(gamma=1.0, support=Support(kind="tube"))}))


def test_shares_are_kept_of_longer_films_and_files_of_pictures_say_nothing_of_frames():
    quota = Quota(kind="frames", share="listed", weights=(1.0, 0.5))
    site = SiteSpec(layer=0, keep=9, scope="film", score={"change": 1.0}, quota=quota)
    operator = OperatorSpec(target=FILM, sites=(site,))
    plan = OperatorPlan.of(operator)
    assert plan.of_grid((6, 2, 3)) is plan
    assert plan.of_grid((24, 2, 3)).decoder[0].site.keep == 36
    assert plan.of_grid((24, 2, 3)).decoder[0].site.quota == quota
    assert plan.of_grid((24, 2, 3)).operator.target.frames == 24
    picture = OperatorSpec(
        target=Target(layers=4, grid=(4, 4)), sites=(SiteSpec(layer=0, keep=4, score={"norm": 1.0}),)
    )
    assert "frames" not in picture.to_json()
    assert "scope" not in picture.to_json()
