"""What runs otherwise on a GPU, against what runs on a CPU; skipped where there is none."""

import pytest
import torch

from eos_platform.operators.matmul import pairwise_products, weighted_sums
from eos_platform.operators.selectors.diverse_topk import diverse_topk
from eos_platform.operators.tokens import cosine, cosine_of_all

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
HALVES = [torch.bfloat16, torch.float16]


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("width", [96, 1536])
@pytest.mark.parametrize("tokens", [37, 576, 1500, 2880])
def test_the_walk_picks_as_on_a_cpu(tokens, width):
    x_bnd, score_bn = drawn(2, tokens, width), drawn(2, tokens, seed=1)
    score_bn[0, 5] = -torch.inf
    spread, picks = torch.tensor(1.5), min(tokens, 70)
    order_br, gap_bn = diverse_topk(x_bnd, score_bn, spread, picks)
    found_br, found_bn = diverse_topk(x_bnd.cuda(), score_bn.cuda(), spread.cuda(), picks)
    assert torch.equal(found_br.cpu(), order_br)
    torch.testing.assert_close(found_bn.cpu(), gap_bn, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("tokens", [(1, 1), (66, 7), (7, 66), (333, 511)])
def test_products_and_sums_of_halves_are_wide(dtype, tokens):
    q, r = tokens
    x_bqe, y_bre, t_bqr = drawn(2, q, 640, dtype=dtype), drawn(2, r, 640, seed=1, dtype=dtype), drawn(2, q, r, seed=2)
    with torch.inference_mode():
        close = {"rtol": 1e-5, "atol": 1e-3}
        torch.testing.assert_close(
            pairwise_products(x_bqe.cuda(), y_bre.cuda()).cpu(), x_bqe.float() @ y_bre.float().mT, **close
        )
        unit = [torch.nn.functional.normalize(x.float(), dim=-1) for x in (x_bqe, y_bre)]
        torch.testing.assert_close(cosine(x_bqe.cuda(), y_bre.cuda()).cpu(), unit[0] @ unit[1].mT, rtol=0, atol=1e-5)
        torch.testing.assert_close(cosine_of_all(x_bqe.cuda()).cpu(), unit[0] @ unit[0].mT, rtol=0, atol=1e-5)
        for size in (1e-6, 1.0, 1e5):
            exact = size * t_bqr.double().mT @ x_bqe.double()
            found = weighted_sums(size * t_bqr.cuda(), x_bqe.cuda()).cpu().double()
            assert (found - exact).abs().max() < 1e-3 * size  # one half a weight alone: off by ten times as much
