"""The parts of a vision-language model that operators meet, whatever its family; and hooks that travel with a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.attention.rope import Rope
from eos_platform.models.loading.devices import moved

if TYPE_CHECKING:
    from eos_platform.models.adapters.base import Family

FULL = "full_attention"


@dataclass(frozen=True)
class Parts:
    """The modules of one model (never the top-level model itself, so that holding them does not keep it alive)."""

    body: Any  # images and text in, hidden states out
    language_model: Any
    layers: tuple[Any, ...]
    tower: Any
    image_token: int
    grid: tuple[int, int]  # of visual tokens; where images vary in size, of one taken as usual
    blocks: tuple[Any, ...] = ()  # of the vision tower
    used: int = 0  # so many of them lead to the visual tokens; the model runs the others for nothing
    states: int = 1  # of how many blocks the outputs are used
    family: Family | None = None
    kinds: tuple[str, ...] = ()  # of attention, a layer; layers of one kind share masks and rotary embeddings
    video_token: int | None = None

    @property
    def vision_layer(self) -> Any:
        """The last block of the vision tower whose output is used.

        Raises:
            EosError: there is none.
        """
        if self.used == 0:
            raise EosError("what is read inside the vision tower needs a layer of it, and this model uses none")
        return self.blocks[self.used - 1]

    def kind(self, index: int) -> str:
        """The kind of attention of a layer."""
        return self.kinds[index] if self.kinds else FULL

    def rope(self, x_bkd: Tensor, position: Tensor, kind: str = FULL) -> Rope:
        """Rotary embeddings at positions, which may have several axes (axes, b, k)."""
        if position.dim() == 3:
            position = position[-3:]  # a fourth axis in front is of plain text
        elif self.family is not None and self.family.axes > 1:  # plain positions are the same on every axis
            position = position.expand(self.family.axes, *position.shape)
        by_kind = self.family is not None and self.family.rope_by_kind
        extra = (kind,) if by_kind else ()
        # a module on a device of its own answers there
        return moved(Rope(*self.language_model.rotary_emb(x_bkd, position, *extra)), x_bkd.device)


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
