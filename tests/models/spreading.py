"""Models spread over several devices, real or pretended: by accelerate's hooks, or by plain ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Where = Callable[[str], torch.device]
LAYER = re.compile(r"(?:language_model|text_model)\.layers\.(\d+)")
LATE = re.compile(r"vision|visual|(language_model|text_model)\.norm$|lm_head")


def halves(first: torch.device, second: torch.device) -> Where:
    """Decoder layers half and half; vision tower, last norm and head on the second device, the rest on the first."""

    def where(name: str) -> torch.device:
        layer = LAYER.search(name)
        if layer:
            return second if int(layer[1]) >= 2 else first
        return second if LATE.search(name) else first

    return where


def turns(first: torch.device, second: torch.device) -> Where:
    """Decoder layers (and blocks of the tower) in turns from the second; inputs there, words on the first."""

    def where(name: str) -> torch.device:
        layer = LAYER.search(name) or re.search(r"(?:layers|blocks)\.(\d+)", name)
        if layer:
            return (second, first)[int(layer[1]) % 2]
        return first if "embed_tokens" in name or LATE.search(name) else second

    return where


def device_map(model: nn.Module, where: Where) -> dict[str, torch.device]:
    """The same as accelerate takes it: as few modules as tell all, and a shared weight where its first user is."""
    found: dict[str, torch.device] = {}
    homes: dict[nn.Parameter, torch.device] = {}

    def walk(name: str, module: nn.Module) -> None:
        inside = {where(one if not name else f"{name}.{one}" if one else name) for one, _ in module.named_modules()}
        children = list(module.named_children())
        if not children or (name and len(inside) == 1):
            found[name] = next((homes[one] for one in module.parameters() if one in homes), where(name))
            homes.update((one, found[name]) for one in module.parameters())
            return
        for one in module._parameters:  # a module's own weights beside those of its children
            found[f"{name}.{one}" if name else one] = where(name)
        for one, child in children:
            walk(f"{name}.{one}" if name else one, child)

    walk("", model)
    return found


def hook(model: nn.Module, where: Where) -> None:
    """Plain hooks that move what every module with weights is called with to its device, and the outputs back."""
    came_from: list[torch.device] = []

    def bring(device: torch.device, module: nn.Module, args: Any, kwargs: Any) -> Any:
        return sent(args, device), sent(kwargs, device)

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        came_from[:] = [one.device for one in [*args, *kwargs.values()] if isinstance(one, Tensor)][:1]

    def back(module: nn.Module, args: Any, output: Any) -> Any:
        for name, one in output.items():
            if isinstance(one, Tensor):
                output[name] = sent(one, came_from[0])
        return output

    model.register_forward_pre_hook(note, with_kwargs=True)
    for name, module in model.named_modules():
        if name == "" or len(module.state_dict()):
            device = where(name)
            module.register_forward_pre_hook(
                lambda module, args, kwargs, device=device: bring(device, module, args, kwargs), with_kwargs=True
            )
    model.register_forward_hook(back)


def sent(value: Any, device: torch.device) -> Any:
    """Tensors in tuples, lists and dictionaries, moved; caches stay as they are."""
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(sent(one, device) for one in value)
    return {name: sent(one, device) for name, one in value.items()} if type(value) is dict else value


def place(model: nn.Module, where: Where) -> None:
    """Move every module's own weights and buffers; shared ones become one for each."""
    for name, module in model.named_modules():
        for own, weight in module._parameters.items():
            if weight is not None:
                module._parameters[own] = nn.Parameter(weight.detach().to(where(name)), weight.requires_grad)
        for own, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[own] = buffer.to(where(name))
