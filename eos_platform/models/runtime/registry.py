"""Which models have hooks of an operator on them; asked of models themselves, not of what is wrapped around them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.hooks import Renamed
from eos_platform.models.runtime.decoder_hooks import DecoderHooks


class Removable(Protocol):
    """Something on a model that can be taken off."""

    def remove(self) -> None:
        """Take it off."""


On = TypeVar("On", bound=Removable)
# beside the models, not on them: a model carries nothing but its hooks
_ON: weakref.WeakKeyDictionary[Any, Removable] = weakref.WeakKeyDictionary()


def note(model: Any, hooks: Removable) -> None:
    """Note that ``hooks`` is on ``model``."""
    _ON[model] = hooks


def hooks_on(model: Any) -> Removable | None:
    """What is on a model; None: nothing is."""
    return _ON.get(model) or _carried(model)


def forget(model: Any) -> Removable | None:
    """Note that nothing is on a model any longer; what was."""
    return _ON.pop(model, None) or _carried(model)


def refuse_taken(model: Any) -> None:
    """Refuse a model that has an operator on it.

    Raises:
        EosError: it has.
    """
    if model in _ON or _carried(model) is not None:
        raise EosError("an operator is already attached to this model; detach it first")


@contextmanager
def registered(model: Any, put: Callable[[], On]) -> Iterator[On]:
    """What ``put`` puts on ``model`` is there, and known to be, while the block runs.

    Raises:
        EosError: an operator is on the model already.
    """
    refuse_taken(model)
    hooks = _ON[model] = put()
    try:
        yield hooks
    finally:
        _ON.pop(model, None)
        hooks.remove()


def _carried(model: Any) -> DecoderHooks | None:
    """The operator that a copied or unpickled model came with."""
    for hook in getattr(model, "_forward_pre_hooks", {}).values():
        if isinstance(hook, Renamed) and isinstance(hook.owner, DecoderHooks):
            return hook.owner
    return None
