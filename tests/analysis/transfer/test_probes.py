"""Directions carried from one hidden space to another: where the spaces are turned against each other, exactly."""

import pytest
import torch

from eos_platform.analysis.transfer.probes import States, _site, resampled, ridge
from eos_platform.operators.reduce import probed
from eos_platform.operators.spec import SiteSpec, Steering


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("steered", [False, True])
def test_a_turned_space_says_the_same(steered: bool) -> None:
    x_qnd, question_qd = unit(40, 16, 12), torch.randn(40, 12)
    turn_dd = torch.linalg.qr(torch.randn(12, 12)).Q
    steering = Steering.of(torch.randn(3, 12), torch.randn(3, 12)) if steered else None
    site = SiteSpec(layer=0, keep=4, probe=tuple(torch.randn(12).tolist()), steering=steering)
    plain = SiteSpec(layer=0, keep=4, score={"norm": 1.0})
    made = _site(
        site,
        plain,
        States((4, 4), {0: x_qnd}, question_qd),
        States((4, 4), {0: x_qnd @ turn_dd}, question_qd @ turn_dd),
    )
    before_qn = probed(site, x_qnd, question_qd)
    after_qn = probed(made, x_qnd @ turn_dd, question_qd @ turn_dd)
    before_qn, after_qn = (one - one.mean(1, keepdim=True) for one in (before_qn, after_qn))
    # the ridge shrinks a little; float16 rounds a steering
    assert torch.allclose(before_qn, after_qn, atol=0.08 * float(before_qn.std()), rtol=0.05)
    assert made.score == {"norm": 1.0}


def test_ridge_is_least_squares_without_a_constant() -> None:
    x_qnd = torch.randn(6, 9, 4)
    wanted_d = torch.tensor([1.0, -2.0, 0.5, 0.0])
    y_qn = x_qnd @ wanted_d + torch.randn(6, 1)  # a constant of each picture
    found_dk = ridge(x_qnd, y_qn[..., None])
    centred_md = (x_qnd - x_qnd.mean(1, keepdim=True)).flatten(0, 1)
    assert torch.allclose(found_dk[:, 0], wanted_d, atol=0.05)
    assert centred_md.shape == (54, 4)


def test_a_map_of_another_size() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    plane_qnk = (rows + 10 * columns).reshape(1, 24, 1)
    assert resampled(plane_qnk, (4, 6), (4, 6)) is plane_qnk
    half_qnk = resampled(plane_qnk, (4, 6), (2, 3))
    assert half_qnk.flatten().tolist() == [5.5, 25.5, 45.5, 7.5, 27.5, 47.5]
