"""The determinantal point process row by row, against the whole kernel; and what it costs."""

import pytest
import torch
from operator_cases import HostReads
from torch.utils.flop_counter import FlopCounterMode

from eos_platform.costs.site_flops import reduce_flops
from eos_platform.operators.selectors.dpp import SPENT, dpp
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.tokens import unit


def by_all_pairs(x_bnd, score_bn, count):
    """Greedily, with every cosine of every pair at hand and all that was picked divided out of the kernel itself."""
    low_b1, high_b1 = score_bn.amin(-1, keepdim=True), score_bn.amax(-1, keepdim=True)
    weight_bn = ((score_bn - low_b1) / (high_b1 - low_b1)).square()
    kernel_bnn = unit(x_bnd) @ unit(x_bnd).mT
    picks = []
    for _ in range(count):
        left_bn = kernel_bnn.diagonal(dim1=-2, dim2=-1)
        gain_bn = torch.where(left_bn > SPENT, weight_bn * left_bn, 0.0)
        gain_bn = gain_bn.scatter(1, torch.stack(picks, 1) if picks else gain_bn.new_zeros(len(x_bnd), 0).long(), -1.0)
        picks.append(gain_bn.argmax(-1))
        row_b1n = kernel_bnn.take_along_dim(picks[-1][:, None, None], 1)
        own_b11 = left_bn.gather(1, picks[-1][:, None])[..., None]
        kernel_bnn = kernel_bnn - torch.where(own_b11 > SPENT, row_b1n.mT * row_b1n / own_b11, 0.0)
    return torch.stack(picks, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d", "count"), [(576, 256, 64), (144, 64, 40), (30, 8, 20), (12, 3, 12)])
def test_rows_pick_what_all_pairs_pick(n, d, count, dtype):
    g = torch.Generator().manual_seed(n)
    x = torch.randn(3, n, d, generator=g, dtype=torch.float64).to(dtype) + 0.2
    score = torch.rand(3, n, generator=g, dtype=torch.float64).to(dtype)
    picks = dpp(x, score, count)
    assert torch.equal(picks, by_all_pairs(x.double(), score.double(), count))
    assert all(torch.equal(dpp(x[row : row + 1], score[row : row + 1], count)[0], picks[row]) for row in range(3))


def test_of_equal_tokens_the_first_stands_for_all():
    g = torch.Generator().manual_seed(1)
    kinds = torch.randn(1, 40, 256, generator=g)
    x = torch.cat([kinds, kinds.flip(1), kinds], 1)
    picks = dpp(x, torch.ones(1, 120), 40)
    assert sorted(picks[0].tolist()) == list(range(40))


@pytest.mark.parametrize("count", [1, 17, 64, 200])
def test_a_pick_costs_its_row(count):
    x, score = torch.randn(2, 576, 32), torch.rand(2, 576)
    with FlopCounterMode(display=False) as counter, HostReads() as reads:
        dpp(x, score, count)
    site = SiteSpec(layer=0, keep=count, selector="dpp", score={"relevance": 1.0})
    assert counter.get_total_flops() == 2 * reduce_flops(site, 576, 32, 24)
    assert reads.count == 0
