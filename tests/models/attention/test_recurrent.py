"""Layers that read tokens one after another: what is not there leaves no trace, what is there keeps its place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from eos_platform.models.attention.recurrent import Gates, ordered, padding, restored

THERE = torch.tensor([[1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], dtype=torch.bool)


def test_who_is_not_there_comes_first_and_all_return_to_their_places() -> None:
    order = ordered(THERE)
    assert order.tolist() == [[1, 3, 0, 2, 4], [0, 1, 2, 3, 4]]
    x = torch.randn(2, 5, 3)
    assert torch.equal(restored(x.gather(1, order[..., None].expand(-1, -1, 3)), order), x)


def test_padding_is_told_with_fillers_or_without() -> None:
    column = torch.tensor([[0, 2, 3, 4, 5], [1, 2, 3, 4, 6]])
    mask = torch.tensor([[0, 1, 1, 1, 1, 1, 1]])
    assert padding(None, column, None) is None
    assert padding(mask, column, None).tolist() == [[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]  # type: ignore[union-attr]
    assert padding(None, column, THERE).tolist() == THERE.long().tolist()  # type: ignore[union-attr]
    assert padding(mask, column, THERE).tolist() == [[0, 0, 1, 0, 1], [1, 1, 1, 1, 1]]  # type: ignore[union-attr]


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_gates_multiply_what_a_token_mixes_in_writes_and_fades(scale: float) -> None:
    torch.manual_seed(0)
    projections = {name: nn.Linear(6, 4, bias=False) for name in ("in_proj_qkv", "in_proj_b", "in_proj_a")}
    mixer = SimpleNamespace(dt_bias=torch.randn(4), **projections)
    x = scale * torch.randn(2, 5, 6)
    plain = {name: module(x).detach() for name, module in projections.items()}
    gates = Gates(mixer)
    assert all(torch.equal(module(x), plain[name]) for name, module in projections.items())  # no gate, nothing done
    gate = torch.tensor([1.0, 0.6, 0.25, 1e-3, 1.0]).expand(2, -1).clone().requires_grad_()
    gates.gate_bk = gate
    found = {name: module(x) for name, module in projections.items()}
    share = gate.detach()[..., None]
    close = {"rtol": 2e-4, "atol": 1e-6}
    torch.testing.assert_close(found["in_proj_qkv"], share * plain["in_proj_qkv"])
    torch.testing.assert_close(found["in_proj_b"].sigmoid(), share * plain["in_proj_b"].sigmoid(), **close)
    rate, expected = (nn.functional.softplus(one["in_proj_a"] + mixer.dt_bias) for one in (found, plain))
    torch.testing.assert_close(rate, share * expected, **close)
    sum(one.sum() for one in found.values()).backward()  # type: ignore[union-attr]
    assert torch.isfinite(gate.grad).all()  # type: ignore[arg-type]
    gates.gate_bk = torch.zeros(2, 5)
    assert projections["in_proj_b"](x).sigmoid().max() < 1e-8
    gates.remove()
    assert torch.equal(projections["in_proj_a"](x), plain["in_proj_a"])
