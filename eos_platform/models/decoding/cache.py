"""Where calls and outputs hold their cache: ``cache`` since transformers 5.24, ``past_key_values`` before it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

NAMES = "cache", "past_key_values"


def cache_of(values: Mapping[str, Any]) -> Any:
    """The cache among the arguments of a call or in a model's output; None without one.

    The pages of continuous batching (``generate_batch``) hold many prompts at once and count as none: such prompts are
    token ids without pictures, so that nothing is ever removed from them.
    """
    for name in NAMES:
        if values.get(name) is not None and hasattr(values[name], "get_seq_length"):
            return values[name]
    return None


def with_cache(module: nn.Module, cache: Any) -> dict[str, Any]:
    """A cache as the keyword argument by which a module takes it."""
    return {name_for_cache(module.forward): cache}


def name_for_cache(function: Callable[..., Any]) -> str:
    """The keyword by which a function takes a cache."""
    return next(name for name in NAMES if name in inspect.signature(function).parameters)
