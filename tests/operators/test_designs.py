"""Every registered design: it builds, it is of its regime, it runs, and it does what its source says."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from eos_platform.errors import EosError
from eos_platform.operators.designs import DESIGNS, get_design
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.operators.tokens import Tokens

TARGET = Target(layers=8, grid=(6, 8))
LLAVA = Target(layers=32, grid=(24, 24))


def run(operator, x, features=None):
    tokens = Tokens.of(x)
    for site in operator.sites:
        tokens = reduce(site, tokens, features or {}, operator.target.grid).tokens
    return tokens


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("target", [TARGET, LLAVA, Target(layers=1, grid=(1, 1))])
def test_every_count_builds_and_is_of_its_regime(name, target):
    design = DESIGNS[name]
    for build in design.candidates(target):
        means = []
        for keep in range(1, target.tokens + 1, 1 if target.tokens < 100 else 23):
            operator = build(keep)
            assert operator.tokens_left == keep
            assert operator.regime == ("identity" if keep == target.tokens else design.regime)
            assert OperatorSpec.from_json(operator.to_json()) == operator
            means.append(operator.mean_tokens)
        assert means == sorted(means)
    assert design.build(target, target.tokens).sites == ()


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("keep", [1, 5, 12, 47])
def test_runs_and_leaves_the_tokens_it_says(name, keep):
    x = torch.randn(2, 48, 8, generator=torch.Generator().manual_seed(0))
    features = {"last_text": torch.rand(2, 48, generator=torch.Generator().manual_seed(1))}
    tokens = run(DESIGNS[name].build(TARGET, keep), x, features)
    assert tokens.x_bnd.shape == (2, keep, 8)
    assert tokens.x_bnd.isfinite().all()
    merged = DESIGNS[name].regime != "prune"
    torch.testing.assert_close(tokens.size_bn.sum(-1), torch.full((2,), 48.0 if merged else float(keep)))


def test_fastv_acts_at_its_depth_and_before_the_language_model_for_the_rest():
    fastv = get_design("fastv")
    assert [build(64).sites[0].layer for build in fastv.candidates(LLAVA)] == [2, 0]
    assert [build(64).sites[0].layer for build in fastv.candidates(Target(layers=8, grid=(24, 24)))] == [1, 0]
    assert fastv.build(LLAVA, 64, layer=3).sites[0].layer == 3
    assert fastv.build(LLAVA, 64).mean_tokens == (2 * 576 + 30 * 64) / 32


def test_tome_keeps_the_mean_of_all_tokens():
    x = torch.randn(2, 48, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens = run(get_design("tome").build(TARGET, 7), x)
    mean = (tokens.x_bnd * tokens.size_bn[..., None]).sum(1) / tokens.size_bn.sum(1, keepdim=True)
    torch.testing.assert_close(mean, x.mean(1))


@pytest.mark.parametrize("keep", [1, 2, 16, 63, 64, 128, 192, 300, 575])
def test_tome_halves_at_most(keep):
    counts = (576, *(site.keep for site in get_design("tome").build(LLAVA, keep).sites))
    assert counts[-1] == keep
    assert all(before > after >= before / 2 for before, after in itertools.pairwise(counts))


def test_pool_is_average_pooling():
    x_bdhw = torch.randn(2, 5, 6, 8, generator=torch.Generator().manual_seed(0))
    tokens = run(get_design("pool").build(TARGET, 12), x_bdhw.flatten(2).mT)
    torch.testing.assert_close(tokens.x_bnd, F.avg_pool2d(x_bdhw, 2).flatten(2).mT)


def test_bad_requests_are_refused():
    with pytest.raises(EosError, match="unknown design 'fastvv'; did you mean 'fastv'"):
        get_design("fastvv")
    with pytest.raises(EosError, match="design 'pool' keeps 1 to 48 tokens, not 49"):
        get_design("pool").build(TARGET, 49)
    with pytest.raises(EosError, match="design 'fastv': layer 8 is not one of the 8 decoder layers"):
        get_design("fastv").build(TARGET, 5, layer=8)
