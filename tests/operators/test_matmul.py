"""Weighted sums as a compiler sees them: shapes and types without numbers."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from eos_platform.operators import matmul


def test_the_shape_that_a_graph_is_compiled_with() -> None:
    with FakeTensorMode():
        made = matmul._sums(torch.empty(2, 7, 12).bfloat16(), torch.empty(2, 7, 5).bfloat16(), 4)
    assert made.shape == (2, 12, 5)
    assert made.dtype == torch.float32


def test_products_are_counted_for_the_sums_that_were_asked_for() -> None:
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(), counter:
        matmul._sums(torch.empty(2, 7, 12).bfloat16(), torch.empty(2, 7, 5).bfloat16(), 4)
    assert counter.get_total_flops() == 2 * 2 * 7 * 4 * 5
