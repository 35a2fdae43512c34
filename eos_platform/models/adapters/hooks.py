"""Forward pre-hooks that change a call's arguments by name, and travel with a copied or pickled model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import nn

Act = Callable[[Any, dict[str, Any]], None]
Hook = Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


class Renamed:
    """A forward pre-hook that lets ``act`` change a call's arguments by name; they go on as they came.

    An object, not a closure: a copied or pickled model takes a copy of what its hooks belong to along.
    """

    def __init__(self, act: Act, traced: bool = True) -> None:
        self.act = act
        self.traced = traced

    @property
    def owner(self) -> Any:
        """The object whose method is called."""
        return getattr(getattr(self.act, "func", self.act), "__self__", None)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Called by torch before the module's forward."""
        return self._run(module, args, kwargs) if self.traced else self._run_untraced(module, args, kwargs)

    @torch.compiler.disable
    def _run_untraced(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._run(module, args, kwargs)

    def _run(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        names = _parameters(type(module).forward)[: len(args)]
        call = {**dict(zip(names, args, strict=False)), **kwargs}
        self.act(module, call)
        return tuple(call.pop(name, None) for name in names), call


def renamed(act: Act, traced: bool = True) -> Hook:
    """``act`` as a forward pre-hook; not ``traced``: it runs as it is where the module is compiled."""
    return Renamed(act, traced)


def before(module: nn.Module, act: Act, traced: bool = True) -> Any:
    """Let ``act`` change the arguments of every call of a module (see ``renamed``), until the handle is removed."""
    return module.register_forward_pre_hook(renamed(act, traced), with_kwargs=True)


class Owner(Protocol):
    """Something whose hooks are on a model."""

    def remove(self) -> None:
        """Take them off."""


@lru_cache(maxsize=256)
def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)[1:]


def parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a method's parameters, without ``self``."""
    return _parameters(forward)
