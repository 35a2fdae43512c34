"""A site's dozens of small operations fused by ``torch.compile``: a minute once, a fraction of the time ever after."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from eos_platform.common.when_imported import when_imported
from eos_platform.models.runtime.site_step import Step

GRAPHS = 256  # one for each site and shape of a prompt; by default, Dynamo gives up after 8


def _look_at_hooks() -> None:
    """What is compiled must see hooks that come and go: by default, Dynamo takes those of the first call for all there
    will ever be, and a model compiled before an operator was attached would go on without it."""
    config: Any = torch._dynamo.config
    if config.skip_nnmodule_hook_guards:
        config.skip_nnmodule_hook_guards = False
        if torch._dynamo.utils.counters["frames"]:  # compiled until now without looking
            torch.compiler.reset()


when_imported("torch._dynamo", _look_at_hooks)  # which takes a second: only once somebody compiles


@cache
def compile_step(act: Callable[..., Step]) -> Callable[..., Step]:
    """``enter`` or ``apply_site``, compiled for every site and every shape it meets."""
    import torch._dynamo

    config: Any = torch._dynamo.config
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(config, name, max(getattr(config, name, 0), GRAPHS))
    return torch.compile(act, dynamic=False)
