"""A site's dozens of small operations fused by ``torch.compile``: a minute once, a fraction of the time ever after."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch._dynamo

from eos_platform.models.runtime.site_step import Step

# what is compiled must see hooks that come and go: by default, Dynamo takes those of the first call for all there will
# ever be, and a model compiled before an operator was attached would go on without it
_config: Any = torch._dynamo.config
if _config.skip_nnmodule_hook_guards:
    _config.skip_nnmodule_hook_guards = False
    if torch._dynamo.utils.counters["frames"]:  # compiled until now without looking
        torch.compiler.reset()

GRAPHS = 256  # one for each site and shape of a prompt; by default, Dynamo gives up after 8


@cache
def compile_step(act: Callable[..., Step]) -> Callable[..., Step]:
    """``enter`` or ``apply_site``, compiled for every site and every shape it meets."""
    config: Any = torch._dynamo.config
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(config, name, max(getattr(config, name, 0), GRAPHS))
    return torch.compile(act, dynamic=False)
