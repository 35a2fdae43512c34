"""Values that a relaxed selection of a given order falls along."""

import torch

from eos_platform.operators.relaxed.line import _falling


def test_an_order_that_falls_already_is_left_alone() -> None:
    line_bn = torch.tensor([[3.0, 1.0, 2.0]])
    assert torch.allclose(_falling(line_bn, torch.tensor([[0, 2, 1]])), line_bn)


def test_values_are_lowered_until_they_fall_by_a_ten_thousandth_of_their_range() -> None:
    line_bn = torch.tensor([[10.0, 12.0, 12.0, 14.0]])
    order_bn = torch.tensor([[3, 0, 1, 2]])  # the second is lower than those after it
    made_bn = _falling(line_bn, order_bn).gather(1, order_bn)
    step = 1e-4 * (14 - 10)
    assert torch.allclose(made_bn, torch.tensor([[14.0, 10.0, 10.0 - step, 10.0 - 2 * step]]))


def test_the_first_is_raised_where_the_second_is_above_it() -> None:
    made_bn = _falling(torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[0, 1, 2]]))
    assert made_bn[0, 0] == 5.0
    assert made_bn[0, 0] > made_bn[0, 1] > made_bn[0, 2]


def test_ties_fall_too_and_gradients_pass_as_they_are() -> None:
    line_bn = torch.full((2, 5), 7.0, requires_grad=True)
    made_bn = _falling(line_bn, torch.arange(5).expand(2, 5))
    assert (made_bn.detach().double().diff() <= 0).all()
    made_bn.sum().backward()
    assert torch.equal(line_bn.grad, torch.ones(2, 5))
