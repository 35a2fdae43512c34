"""Every design against a plain reading of its method: the same tokens stay, and hold the same (1e-5 in float32)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import plain_diversity as diversity
import plain_merging as merging
import plain_pruning as pruning
import plain_suppressing as suppressing
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import Picture

from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import ALL_FEATURES, SiteSpec, Target
from eos_platform.operators.tokens import Tokens

WIDTH, KEYS = 64, 24  # wide enough that kernels have full rank


@dataclass
class Scene:
    """What one picture and prompt look like to the model: random, or full of ties."""

    seed: int
    ties: bool = False

    def tokens(self, n):
        rng = np.random.default_rng((self.seed, 0))
        return self._vectors(rng, n, WIDTH)

    def given(self, stage, n):
        """Features, keys and text pivots at a site, for the n tokens present."""
        rng = np.random.default_rng((self.seed, 1, stage))
        values = rng.integers(0, 4, (len(ALL_FEATURES), n)) if self.ties else rng.random((len(ALL_FEATURES), n))
        found = {name: row.astype(np.float32) for name, row in zip(ALL_FEATURES, values, strict=True)}
        found["keys"] = self._vectors(rng, n, KEYS)
        found["text_pivots"] = self._vectors(rng, 4, WIDTH)
        found["text_rows"] = np.concatenate([self._vectors(rng, 5, WIDTH), np.zeros((2, WIDTH), np.float32)])
        return found

    def _vectors(self, rng, n, width):
        if self.ties:  # one of five directions each, of one length: cosines and distances are exact
            return np.eye(width, dtype=np.float32)[rng.integers(0, 5, n)]
        return rng.standard_normal((n, width)).astype(np.float32)


def deployed(operator, scene):
    """The operator's own tokens: places, vectors, sizes."""
    tokens = Tokens.of(torch.from_numpy(scene.tokens(operator.arriving))[None])
    for stage, site in enumerate(operator.sites):
        given = {name: torch.from_numpy(v)[None] for name, v in scene.given(stage, tokens.x_bnd.shape[1]).items()}
        tokens = reduce(site, tokens, given, operator.target.grid).tokens
    return tokens


def compare(operator, scene, method: Callable[[SiteSpec, Picture, dict], Picture], first_only=False):
    sites = operator.sites[:1] if first_only else operator.sites
    picture = Picture.of(scene.tokens(operator.arriving))
    for stage, site in enumerate(sites):
        picture = method(site, picture, scene.given(stage, len(picture)))
    tokens = deployed(operator.model_copy(update={"sites": sites}), scene)
    assert tokens.origin_bn[0].tolist() == picture.place
    assert tokens.x_bnd.dtype == torch.float32
    expected = torch.from_numpy(np.array(picture.x).reshape(len(picture), WIDTH))
    torch.testing.assert_close(tokens.x_bnd[0].double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.size_bn[0].double(), torch.tensor(picture.size).double(), rtol=1e-5, atol=1e-5)


METHODS: dict[str, Callable[[SiteSpec, Picture, dict], Picture]] = {
    "tome": lambda site, p, g: merging.tome(p, p.x, site.keep),
    "tome-tower": lambda site, p, g: merging.tome(p, g["keys"], site.keep),
    "fastv": lambda site, p, g: pruning.top(p, g["last_text"], site.keep),
    "prumerge": lambda site, p, g: merging.prumerge(p, g["next_vision"], g["keys"], site.keep, 32),
    "prumerge+": lambda site, p, g: merging.prumerge(
        p, g["next_vision"], g["keys"], site.keep, 32, site.keep - 1 - site.important if site.important else 0
    ),
    "sparsevlm": lambda site, p, g: merging.sparsevlm(
        p, g["raters"], site.important, None if site.important else site.keep
    ),
    "sparsevlm-v2": lambda site, p, g: pruning.top(p, g["corrected"], site.keep),
    "pyramiddrop": lambda site, p, g: pruning.top(p, g["last_text"], site.keep),
    "vtw": lambda site, p, g: pruning.withdraw(p),
    "zero": lambda site, p, g: pruning.withdraw(p),
    "diffrate": lambda site, p, g: merging.diffrate(p, g["vision"], site.keep, max(1, round((len(p) - site.keep) / 2))),
    "visionzip": lambda site, p, g: merging.visionzip(
        p, g["vision"], g["keys"], site.important, site.keep - site.important
    ),
    "vispruner": lambda site, p, g: pruning.vispruner(p, g["vision"], site.keep, max(1, site.keep // 2)),
    "divprune": lambda site, p, g: pruning.divprune(p, site.keep),
    "dart": lambda site, p, g: pruning.dart(p, g["key_norm"], g["text_pivots"], site.keep),
    "cdpruner": lambda site, p, g: pruning.cdpruner(p, g["relevance"], site.keep),
    "fastervlm": lambda site, p, g: pruning.top(p, g["vision"], site.keep),
    "cen-divprune": lambda site, p, g: diversity.cen_divprune(p, g["uniqueness"], site.keep),
    "cen-cdpruner": lambda site, p, g: diversity.cen_cdpruner(p, g["relevance"], g["uniqueness"], site.keep),
    "scope": lambda site, p, g: diversity.scope(p, g["vision"], site.keep),
    "mmtok": lambda site, p, g: diversity.mmtok(p, g["text_rows"], site.keep),
    "tops": lambda site, p, g: diversity.tops(p, g["vision"], site.keep),
    "holov": lambda site, p, g: diversity.holov(p, g["vision"], site.keep, site.quota.groups),
    "v2drop": lambda site, p, g: pruning.top(p, g["variation"], site.keep),
    "zoo-prune": lambda site, p, g: diversity.zoo_prune(p, g["norm"], site.keep),
    "nuwa": lambda site, p, g: (
        pruning.top(p, g["last_text"], site.keep)
        if site.quota is None
        else diversity.nuwa(p, g["vision"], site.keep, site.quota)
    ),
    "prunesid": lambda site, p, g: suppressing.prunesid(p, g["vision"], site.keep),
    "d2pruner": lambda site, p, g: suppressing.d2pruner(
        p, g["last_text"], site.keep, min(round(0.7 * site.keep), site.keep), 0.8
    ),
    "adaptinfer": lambda site, p, g: pruning.top(p, g["weighed_text"], site.keep) if site.keep else pruning.withdraw(p),
    "flowcut": lambda site, p, g: pruning.top(p, g["flow"], site.keep),
    "todre": lambda site, p, g: suppressing.todre(p, g["vision"], site.keep) if site.keep else pruning.withdraw(p),
}
GRIDS = st.sampled_from([(6, 8), (5, 5), (3, 5), (1, 7), (1, 2)])
SLOW = (
    *("cdpruner", "divprune", "zero", "cen-divprune", "cen-cdpruner", "scope", "tops", "mmtok", "zoo-prune"),
    *("prunesid", "todre"),
)
# centred, five directions span four dimensions but for rounding, so that what a determinant leaves of them is chance;
# and of equal tokens any mixture is a principal component
NO_TIES = ("cen-cdpruner", "prunesid")
CONTROLS = {"random", "stride", "pool", "adaptive-pool", "downsample", "reweight"}  # below, each in its own way


def test_every_design_has_a_reference():
    assert set(METHODS) | CONTROLS == set(suited())  # those of films: test_films.py


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(grid=GRIDS, share=st.floats(0, 1), seed=st.integers(0, 2**20), ties=st.booleans())
def test_the_method_as_described(name, grid, share, seed, ties):
    target = Target(layers=8, grid=grid, vision_layers=5)
    tokens = 1 + share * (target.tokens - 1.01)
    # means of tied tokens tie but for rounding, so ties are for the first site
    ties = ties and name not in NO_TIES
    compare(DESIGNS[name].build(target, tokens), Scene(seed, ties), METHODS[name], first_only=ties)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in SLOW])
def test_the_same_at_full_size(name):
    """576 tokens, as published where counts are: stages that only a real grid has (recycled clusters above all)."""
    design = DESIGNS[name]
    target = Target(layers=32, grid=(24, 24), vision_layers=3)
    operator = design.published[128]() if 128 in design.published else design.build(target, 128)
    compare(operator, Scene(7), METHODS[name])


def test_random_keeps_the_same_places_of_every_picture():
    operator = DESIGNS["random"].build(Target(layers=4, grid=(6, 8)), 17)
    first, second = deployed(operator, Scene(1)), deployed(operator, Scene(2))
    assert first.origin_bn.tolist() == second.origin_bn.tolist()
    assert torch.equal(first.x_bnd[0], torch.from_numpy(Scene(1).tokens(48))[first.origin_bn[0]])


@pytest.mark.parametrize(
    ("keep", "window"), [(48, (1, 1)), (24, (1, 2)), (12, (2, 2)), (6, (2, 4)), (4, (3, 4)), (1, (6, 8))]
)
def test_stride_keeps_and_pool_averages_equal_windows(keep, window):
    """A window's middle is at its centre, or before it where it has an even number of rows or columns."""
    x = torch.from_numpy(Scene(3).tokens(48))
    down, across = window
    target = Target(layers=4, grid=(6, 8))
    middles = [
        (top + (down - 1) // 2) * 8 + left + (across - 1) // 2
        for top in range(0, 6, down)
        for left in range(0, 8, across)
    ]
    strided = deployed(DESIGNS["stride"].build(target, keep), Scene(3))
    assert torch.equal(strided.x_bnd[0], x[middles])
    pooled = deployed(DESIGNS["pool"].build(target, keep), Scene(3))
    assert pooled.origin_bn[0].tolist() == middles
    means = F.avg_pool2d(x.T.reshape(WIDTH, 6, 8), window).flatten(1).T
    torch.testing.assert_close(pooled.x_bnd[0], means, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_adaptive_pool_is_adaptive_average_pooling(rows, columns, share, seed):
    target = Target(layers=4, grid=(rows, columns))
    operator = DESIGNS["adaptive-pool"].build(target, 1 + share * (target.tokens - 1))
    pooled, keep = deployed(operator, Scene(seed)), operator.tokens_left
    x = torch.from_numpy(Scene(seed).tokens(target.tokens)).T.reshape(WIDTH, rows, columns)
    shapes = [(h, keep // h) for h in range(1, rows + 1) if keep % h == 0 and keep // h <= columns]
    means = [F.adaptive_avg_pool2d(x, shape).flatten(1).T for shape in shapes]
    assert any(torch.allclose(pooled.x_bnd[0], mean, rtol=1e-5, atol=1e-5) for mean in means)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=st.integers(1, 24), columns=st.integers(1, 24), share=st.floats(0, 1))
def test_downsample_takes_the_largest_grid_that_is_not_too_stretched(rows, columns, share):
    target = Target(layers=4, grid=(rows, columns))
    tokens = 1 + share * (target.tokens - 1.01) if target.tokens > 1 else 1
    image = DESIGNS["downsample"].build(target, tokens).image or (rows, columns)
    fit = [(h, w) for h in range(1, rows + 1) for w in range(1, columns + 1) if h * w <= tokens]
    even = [(h, w) for h, w in fit if 0.5 - 1e-9 <= (h / rows) / (w / columns) <= 2 + 1e-9]
    assert image in (even or fit)
    assert image[0] * image[1] == max(h * w for h, w in even or fit)


def test_reweight_scales_every_token_by_its_importance():
    target = Target(layers=4, grid=(3, 5))
    scene, rho = Scene(11), 0.7
    tokens = deployed(DESIGNS["reweight"].build(target, 15, rho=rho), scene)
    attention = scene.given(0, 15)["vision"].astype(np.float64)
    importance = np.exp(rho * (attention - attention.mean()) / attention.std())
    expected = scene.tokens(15) * (importance / importance.mean())[:, None]
    torch.testing.assert_close(tokens.x_bnd[0].double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


def test_the_matrix_prints_a_line_a_design_and_fails_where_a_token_differs(monkeypatch, capsys):
    import parity_matrix

    words = ["parity_matrix.py", "--cases", "3", "--designs", "prunesid,todre"]
    monkeypatch.setattr("sys.argv", words)
    assert parity_matrix.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["prunesid", "3", "3"], ["todre", "3", "3"]]
    assert "128: 128 (128.0)" in lines[1]
    monkeypatch.setitem(parity_matrix.METHODS, "todre", lambda site, p, g: pruning.top(p, g["vision"], site.keep))
    assert parity_matrix.main() == 1
