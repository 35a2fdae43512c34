"""Devices that are pretended, to run a model over several of them where there is only a CPU.

A tensor of the device ``cpu:1`` or ``cpu:2`` holds its numbers on the CPU, and refuses to meet a tensor of another
device as CUDA's tensors do: in every operation but a copy from one to the other. A tensor without dimensions of the
host may take part, and indices of the host may be used, as with CUDA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from spreading import Where, hook, place
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

FIRST, SECOND = torch.device("cpu:1"), torch.device("cpu:2")
_COPY = torch.ops.aten.copy_.default
_INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


class Pretended(Tensor):
    """A tensor on a pretended device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> Pretended:
        """``inner``: its numbers, on the CPU."""
        made = Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=device, requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"Pretended({self.inner!r}, device={self.device})"

    def tolist(self) -> Any:
        """As on any device: copied to the host."""
        return self.inner.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Tensors made on a pretended device, or moved to one, are pretended too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Made(TorchFunctionMode):
    """The same of tensors made of Python's numbers, which torch dispatches to nobody."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _pretends(kwargs.get("device")):
            device = kwargs.pop("device")
            return func(*tree_map(_unwrapped, args), **kwargs).to(device)
        return func(*args, **kwargs)


def _pretends(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cpu" and (torch.device(device).index or 0) > 0


def _unwrapped(value: Any) -> Any:
    return value.inner if isinstance(value, Pretended) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    place = _place(func, args, kwargs, tensors)
    plain = tree_map(_unwrapped, kwargs)
    if plain.get("device") is not None and _pretends(plain["device"]):
        plain["device"] = torch.device("cpu")
    # the inner tensors know nothing of gradients: these are kept above
    found = func(*tree_map(_unwrapped, args), **plain)
    if place is None:
        if func is _COPY:
            return args[0]
        return found
    wrapped = tree_map(lambda one: Pretended(one, place) if isinstance(one, Tensor) else one, found)
    if func is _COPY:
        return args[0]
    if any(isinstance(one, Pretended) for one in tensors):
        return return_and_correct_aliasing(func, args, kwargs, wrapped)
    return wrapped


def _place(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> torch.device | None:
    """Where the result is; None: on the host.

    Raises:
        RuntimeError: tensors of several devices meet.
    """
    if func is _COPY:  # from anywhere to anywhere
        return args[0].device if isinstance(args[0], Pretended) else None
    asked = kwargs.get("device")
    if asked is not None:
        return torch.device(asked) if _pretends(asked) else None
    devices = {one.device for one in tensors if isinstance(one, Pretended)}
    if not devices:
        return None
    strangers = [one for one in tensors if not isinstance(one, Pretended) and one.dim() > 0]
    if func._schema.name in _INDEXED:  # indices may be on the host, what is indexed not
        strangers = [one for one in strangers if one is args[0]]
    if len(devices) > 1 or strangers:
        found = ", ".join(sorted({str(one.device) for one in [*tensors]}))
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {found} ({func})")
    return devices.pop()


@contextmanager
def pretending() -> Iterator[None]:
    """While it holds, tensors can be made on pretended devices and moved to them."""
    with _Made(), _Mode():
        yield


def spread(model: nn.Module, where: Where, hooks: str) -> nn.Module:
    """A model over pretended devices.

    Args:
        where: the device of a module, by its name; "" is the model, whose inputs are moved there and outputs back.
        hooks: ``accelerate``: those it gives a model with a ``device_map``; ``plain``: such as anyone writes.
    """
    with pretending():
        place(model, where)
    if hooks == "plain":
        hook(model, where)
        return model
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    for name, module in model.named_modules():
        if name == "" or len(module.state_dict()):
            skip = getattr(model, "_skip_keys_device_placement", None)
            align = AlignDevicesHook(where(name), io_same_device=name == "", skip_keys=skip)
            align.init_hook = lambda module: module  # weights are there already
            add_hook_to_module(module, align)
    return model
