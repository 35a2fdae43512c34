"""Put an operator on a Hugging Face LLaVA, and take it off again without a trace.

    model = attach(model, "operator.json")
    model.generate(**inputs)
    detach(model)

It modifies: forward pre-hooks (and two forward hooks, on the final norm and the projector) of this instance's modules.
Outputs keep the prompt's length; rows of removed tokens are zeros. An operator that changes nothing installs nothing.
Hidden states and attentions asked for from inside are of the tokens present.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from eos_platform.errors import EosError
from eos_platform.models.layout import Layout
from eos_platform.models.llava import check_fits, parts_of
from eos_platform.models.present import Present
from eos_platform.models.session import Session
from eos_platform.operators.spec import OperatorSpec, SiteSpec

Model = TypeVar("Model")


class Removable(Protocol):
    """Something on a model that can be taken off."""

    def remove(self) -> None:
        """Take it off."""


# beside the models, not on them: a model carries nothing but its hooks
_ON: weakref.WeakKeyDictionary[Any, Removable] = weakref.WeakKeyDictionary()


def check_free(model: Any) -> None:
    """Refuse a model that has an operator on it.

    Raises:
        EosError: it has.
    """
    if model in _ON:
        raise EosError("an operator is already attached to this model; detach it first")


@contextmanager
def holding(model: Any, session: Removable) -> Iterator[None]:
    """Note that ``session`` is on ``model`` while the block runs."""
    _ON[model] = session
    try:
        yield
    finally:
        _ON.pop(model, None)
        session.remove()


def start(
    model: Any,
    operator: OperatorSpec | str | Path,
    layout: Layout | None = None,
    watch: Callable[[SiteSpec, Present], None] | None = None,
) -> Session:
    """Hooks on ``model``, which nobody keeps account of yet (see ``holding``).

    Raises:
        EosError: an operator is attached already, or this one was made for another model or other sequences.
    """
    spec = operator if isinstance(operator, OperatorSpec) else OperatorSpec.load(operator)
    parts = parts_of(model)
    check_free(model)
    check_fits(parts, spec)
    if layout is not None and layout.visual_bn.shape[1] != spec.target.tokens:
        raise EosError(
            f"layout has {layout.visual_bn.shape[1]} visual tokens; the operator is for {spec.target.tokens}"
        )
    return Session(model, parts, spec, layout, watch)


def attach(model: Model, operator: OperatorSpec | str | Path) -> Model:
    """Put an operator (or an operator file) on ``model``, in place.

    Raises:
        EosError: one is attached already, or the operator was made for another model.
    """
    _ON[model] = start(model, operator)
    return model


def detach(model: Model) -> Model:
    """Take the operator off ``model``, which is then exactly as it was.

    Raises:
        EosError: none is attached.
    """
    session = _ON.pop(model, None)
    if session is None:
        raise EosError("no operator is attached to this model")
    session.remove()
    return model


@contextmanager
def attached(model: Model, operator: OperatorSpec | str | Path) -> Iterator[Model]:
    """The model with the operator on it, for a while."""
    with holding(model, start(model, operator)):
        yield model


@contextmanager
def reducing(model: Model, operator: OperatorSpec | str | Path, layout: Layout) -> Iterator[Model]:
    """The same for direct calls of the language model.

    Args:
        layout: of the sequences that ``model.model.language_model(inputs_embeds=...)`` is called with. What the
            operator does in the vision tower has been done (``encode_images``); ``layout.seen`` says what is left.
    """
    with holding(model, start(model, operator, layout)):
        yield model
