"""Work of sites, told in numbers: operations that picks launch are counted as they are dispatched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eos_platform.costs.device.work import LAUNCHED, WALKED
from eos_platform.operators.designs import get_design
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import SiteSpec, Suppression, Target
from eos_platform.operators.tokens import Tokens

VIEWS = {"expand", "permute", "select", "slice", "squeeze", "t", "transpose", "unsqueeze", "view", "_unsafe_view"}
BY = {
    "farthest": "divprune", "dpp": "cdpruner", "coverage": "scope", WALKED: "cen-divprune",
    "max_sum": "todre",
}  # fmt: skip
SIDE, WIDTH = 12, 32


class Operations(TorchDispatchMode):
    """Counts operations that launch something on a device."""

    many = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.many += func.__name__.split(".")[0] not in VIEWS
        return func(*args, **(kwargs or {}))


def operations(site: SiteSpec) -> int:
    generator = torch.Generator().manual_seed(0)
    many = SIDE * SIDE
    x_bnd = torch.randn(1, many, WIDTH, generator=generator)
    tokens = Tokens(x_bnd, torch.ones(1, many), torch.arange(many)[None])
    given = {name: torch.rand(1, many, generator=generator) for name in ("vision", "relevance", "last_text")}
    with Operations() as counted:
        reduce(site, tokens, given | {"text_rows": x_bnd[:, :9], "keys": x_bnd}, (SIDE, SIDE))
    return counted.many


def site_of(selector: str, keep: int) -> SiteSpec:
    """A design's, where one picks nothing but by the selector."""
    if selector == "suppress":
        return SiteSpec(layer=0, keep=keep, selector="suppress", score={"vision": 1.0}, suppress=Suppression(theta=0.5))
    return get_design(BY[selector]).build(Target(layers=6, grid=(SIDE, SIDE)), keep).sites[0]


@pytest.mark.parametrize("selector", [*LAUNCHED, WALKED])
def test_operations_a_pick_launches(selector):
    few, many = (site_of(selector, keep) for keep in (20, 40))
    assert few.selector == many.selector == selector
    assert (operations(many) - operations(few)) / (many.keep - few.keep) == LAUNCHED.get(selector, 0)
