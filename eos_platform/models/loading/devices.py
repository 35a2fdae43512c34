"""Where a model runs, and what must follow it there when its modules are on several devices.

A model may be spread over devices (a ``device_map``, weights offloaded to the host or to a disk): then every layer is
handed its inputs where the one before it left them. What operators hand a layer is moved to that layer's own device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, shown

Value = TypeVar("Value")


def find_device(name: str | None = None) -> torch.device:
    """The device of that name; default: the GPU if there is one.

    Raises:
        EosError: there is none of that name here.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.device(name)
    except RuntimeError:
        raise EosError(f"device {shown(name)} cannot be used: expected cpu, cuda, cuda:1, mps ...") from None
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        raise EosError(f"device {shown(name)} cannot be used: {error_text(error)}") from None


def device_of(module: Any, default: torch.device) -> torch.device:
    """The device that a module with weights of its own (a norm, say) computes on.

    Args:
        module: where accelerate has put a hook on it, that knows; weights are elsewhere between the calls if they are
            offloaded.
        default: where the module does not say.
    """
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        for one in getattr(hook, "hooks", (hook,)):
            device = getattr(one, "execution_device", None)
            if device is not None:
                return _numbered(torch.device(device))
    weight = getattr(module, "weight", None)
    return weight.device if isinstance(weight, Tensor) and weight.device.type != "meta" else default


def _numbered(device: torch.device) -> torch.device:
    """A device as tensors on it name it."""
    return device if device.index is not None or device.type == "cpu" else torch.empty(0, device=device).device


@contextmanager
def loaded(layer: Any) -> Iterator[None]:
    """While it holds, a decoder layer's weights can be read: those that accelerate keeps elsewhere, and loads as a
    whole, are there.

    Raises:
        EosError: weights of its attention are elsewhere, and come only for the forward of a module it is part of.
    """
    hook: Any = getattr(layer, "_hf_hook", None)
    hooks: list[Any] = [
        one
        for one in getattr(hook, "hooks", (hook,))
        if getattr(one, "offload", False) and getattr(one, "place_submodules", False)
    ]
    for one in hooks:
        one.pre_forward(layer)
    try:
        projection = layer.self_attn.k_proj
        weight = getattr(projection, "weight", None)
        absent = isinstance(weight, Tensor) and (weight.device.type == "meta" or weight.numel() == 0)
        if absent and getattr(projection, "_hf_hook", None) is None:
            raise EosError(
                "a site of the operator reads attention weights of its decoder layer before the layer is called, and"
                " they are not there (sharded, or offloaded by hooks of another kind than accelerate's); keep the"
                " layers of the operator's sites whole and loaded, or use an operator that does not score by attention"
            )
        yield
    finally:
        for one in hooks:
            one.post_forward(layer, None)


_LAYER_ARGUMENTS = ("hidden_states", "attention_mask", "position_ids", "position_embeddings")


def on(call: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """What a layer is handed, by name, but for its cache, on its own device."""
    arguments = {name: moved(value, device) for name, value in call.items() if name in _LAYER_ARGUMENTS}
    return {**call, **arguments}


def moved(value: Value, device: torch.device) -> Value:
    """``value`` with every tensor in it on a device; itself where that changes nothing.

    Args:
        value: a tensor, or dataclasses, named and plain tuples, and mappings that hold some; anything else stays.
    """
    made: Any = _moved(value, device)
    return value if made is None else made


def _moved(value: Any, device: torch.device) -> Any:
    """The same; None where nothing had to be moved."""
    if isinstance(value, Tensor):
        return None if value.device == device else value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        moved_parts = {field.name: _moved(getattr(value, field.name), device) for field in fields(value) if field.init}
        changed = {name: one for name, one in moved_parts.items() if one is not None}
        return replace(value, **changed) if changed else None
    if isinstance(value, Mapping):
        moved_parts = {name: _moved(one, device) for name, one in value.items()}
        if all(one is None for one in moved_parts.values()):
            return None
        return {name: value[name] if one is None else one for name, one in moved_parts.items()}
    if isinstance(value, tuple):
        parts = [_moved(one, device) for one in value]
        if all(one is None for one in parts):
            return None
        whole = [old if new is None else new for old, new in zip(value, parts, strict=True)]
        return type(value)(*whole) if hasattr(value, "_fields") else tuple(whole)
    return None
