"""Activation checkpointing of decoder layers: each keeps what it is handed, and is run again in the backward pass.

transformers has its own, which is for models in training mode and runs a layer's hooks again; relaxed sites are hooks,
and must not. Here the layer's ``forward`` alone is run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from eos_platform.models.adapters.target import parts_of


@contextmanager
def checkpointed(model: Any, wanted: bool = True) -> Iterator[None]:
    """While it holds, decoder layers keep nothing of what they compute.

    Args:
        model: of any family.
        wanted: False: nothing changes.
    """
    layers = parts_of(model).layers if wanted else ()
    held = [(layer, vars(layer).get("forward")) for layer in layers]
    for layer in layers:
        layer.forward = partial(_again, layer.forward)
    try:
        yield
    finally:
        for layer, own in held:
            if own is None:
                del layer.forward
            else:  # accelerate's, of a model that is spread over devices
                layer.forward = own


def _again(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """A layer's forward; nothing in it is drawn at random, so that there is no state to keep."""
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
