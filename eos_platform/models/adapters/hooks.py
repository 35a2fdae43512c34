"""Hooks before and behind modules, which travel with a copied or pickled model. Those before change a call's arguments
by name. Hooks that are not to be traced run as they are where the model is compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import nn

from eos_platform.common.when_imported import when_imported

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


class Behind:
    """A forward hook that calls ``act`` with module, arguments and output; what it returns, if anything, goes on."""

    def __init__(self, act: Callable[[Any, Any, Any], Any], traced: bool = True) -> None:
        self.act = act
        self.traced = traced

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Called by torch after the module's forward."""
        return self.act(module, args, output) if self.traced else self._run_untraced(module, args, output)

    def _run_untraced(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self.act(module, args, output)


def _leave_untraced() -> None:
    for kind in (Renamed, Behind):
        kind._run_untraced = torch.compiler.disable(kind._run_untraced)  # type: ignore[method-assign]


# not as decorators: these would import the compiler, which takes a second, for everybody
when_imported("torch._dynamo", _leave_untraced)


def renamed(act: Act, traced: bool = True) -> Hook:
    """``act`` as a forward pre-hook; not ``traced``: it runs as it is where the module is compiled."""
    return Renamed(act, traced)


def before(module: nn.Module, act: Act, traced: bool = True) -> Any:
    """Let ``act`` change the arguments of every call of a module (see ``renamed``), until the handle is removed."""
    return module.register_forward_pre_hook(renamed(act, traced), with_kwargs=True)


def behind(module: nn.Module, act: Callable[[Any, Any, Any], Any], traced: bool = True, always: bool = False) -> Any:
    """Call ``act`` after every call of a module (see ``Behind``), until the handle is removed.

    Args:
        always: after calls that failed as well.
    """
    return module.register_forward_hook(Behind(act, traced), always_call=always)


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
