"""A site's dozens of small operations fused by ``torch.compile``: a minute once, a fraction of the time ever after."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch._dynamo

from eos_platform.models.present import Step

GRAPHS = 256  # one for each site and shape of a prompt; by default, Dynamo gives up after 8


@cache
def fused(act: Callable[..., Step]) -> Callable[..., Step]:
    """``enter`` or ``apply_site``, compiled for every site and every shape it meets."""
    config: Any = torch._dynamo.config
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(config, name, max(getattr(config, name, 0), GRAPHS))
    return torch.compile(act, dynamic=False)
