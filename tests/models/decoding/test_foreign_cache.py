"""A cache that nothing is known of: taken where nothing can be missing in it, refused elsewhere."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.decoding.foreign_cache import check_whole
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

TARGET = Target(layers=4, grid=(4, 4))
NEW = {"input_ids": torch.zeros(1, 3, dtype=torch.long)}  # tokens of this call


def plan(layer: int, beta: float = 0.0) -> OperatorPlan:
    site = SiteSpec(layer=layer, keep=4, score={"norm": 1.0}, beta=beta)
    return OperatorPlan.of(OperatorSpec(name="mine", target=TARGET, sites=(site,)))


def cache(*lengths: int) -> Any:
    return SimpleNamespace(layers=[SimpleNamespace(get_seq_length=lambda held=held: held) for held in lengths])


def mask(length: int) -> torch.Tensor:
    return torch.ones(1, length, dtype=torch.bool)


def test_layers_of_one_length_where_the_operator_would_leave_several() -> None:
    check_whole(cache(20, 20, 20, 20), plan(2), NEW, None)
    with pytest.raises(EosError, match="nothing is known"):
        check_whole(cache(20, 20, 8, 8), plan(2), NEW, None)


def test_where_the_operator_leaves_one_length_the_mask_tells() -> None:
    check_whole(cache(20, 20, 20, 20), plan(0), NEW, mask(23))  # as many as the cache holds and the call brings
    for valid_bs in (None, mask(35), mask(17)):
        with pytest.raises(EosError, match="nothing is known"):
            check_whole(cache(20, 20, 20, 20), plan(0), NEW, valid_bs)


def test_sizes_of_tokens_are_not_in_any_mask() -> None:
    with pytest.raises(EosError, match="nothing is known"):
        check_whole(cache(20, 20, 20, 20), plan(0, beta=1.0), NEW, mask(23))


def test_a_cache_without_layers_holds_nothing() -> None:
    check_whole(SimpleNamespace(), plan(0), NEW, None)
