"""Put an operator on a Hugging Face vision-language model, and take it off again without a trace.

    model = attach(model, "operator.json")
    model.generate(**inputs)
    detach(model)

Families: ``eos_platform/models/adapters``. It modifies: forward pre-hooks (and forward hooks on the body, the final
norm and the projector) of this instance's modules, and where flash attention carries sizes, which config its modules of
attention point to; a copied or pickled model takes them along, and a copied cache what was chosen for it.
What decides is the prompt: all tokens of the call that first fills a cache, or of a call without cache, but for those
that answer it. These are what follows the first label behind the images; where ``logits_to_keep`` asks for several last
rows (scoring an answer, assisted generation), the tokens that these foretell; and in ``generate(use_cache=False)``,
what was generated so far. A plain call without labels and cache is all prompt. Of one fed in pieces
(``prefill_chunk_size``) the first piece decides, which must hold its images whole.
The choice is kept with the cache and follows its rows, however they are moved (``cache_rows.py``); where it cannot, the
next step is refused. Images that come to a cache that is already filled (in a later turn, behind a cached prefix, in a
later piece) are kept whole; an operator that reduces inside the vision tower refuses them. Static caches are refused,
and caches rebuilt from the keys and values of others.
Outputs keep the prompt's length; rows of removed tokens are zeros. An operator that changes nothing installs nothing.
Hidden states and attentions asked for from inside are of the tokens present.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from eos_platform.common.errors import EosError, expected
from eos_platform.models.adapters.target import check_plan, parts_of, rescaled_to
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.call_context import CallContext
from eos_platform.models.runtime.decoder_hooks import DecoderHooks
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.operator_source import operator_from, save_operator
from eos_platform.models.runtime.registry import forget, hooks_on, note, refuse_taken, registered
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.models.vision.tower import tower_hooks
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec

Model = TypeVar("Model")


SAVE = "save_pretrained"


def check_free(model: Any) -> None:
    """Refuse a model, or what is wrapped around one, that has an operator on it.

    Raises:
        EosError: it has.
    """
    refuse_taken(unwrapped(model))


def _module(model: Any) -> Any:
    """The model inside whatever is wrapped around it.

    Raises:
        EosError: it is no model.
    """
    if not isinstance(model, nn.Module):
        raise expected("model", "a model", model)
    return unwrapped(model)


class Saving:
    """``model.save_pretrained`` while an operator is attached: the model's own, and ``operator.json`` beside it.

    An attribute of this one model, not of its class; it goes with a copied or pickled model, as the hooks do.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> Any:
        """As the model's own."""
        done = getattr(type(self.model), SAVE)(self.model, save_directory, *args, **options)
        operator = attached_operator(self.model)
        if operator is not None and options.get("is_main_process", True):
            save_operator(operator, save_directory)
        return done

    @classmethod
    def begin(cls, model: Any) -> None:
        """From now on; what somebody else put in its place is left alone."""
        if hasattr(type(model), SAVE) and SAVE not in vars(model):
            setattr(model, SAVE, cls(model))

    @classmethod
    def end(cls, model: Any) -> None:
        """Undo it."""
        if isinstance(vars(model).get(SAVE), cls):
            delattr(model, SAVE)


def start(
    model: Any,
    operator: OperatorSpec | str | Path | None,
    layout: Layout | None = None,
    watch: Callable[[SiteSpec, TokenState], None] | None = None,
    rescale: bool = False,
    compiled: bool = False,
) -> DecoderHooks:
    """Hooks on ``model``, which nobody keeps account of yet (see ``registered``).

    Raises:
        EosError: an operator is attached already, or this one was made for another model or other sequences.
    """
    model = unwrapped(model)
    spec = operator_from(operator, model)
    parts = parts_of(model)
    refuse_taken(model)
    if rescale:
        spec = rescaled_to(parts, spec)
    plan = OperatorPlan.of(spec)
    check_plan(parts, plan)
    tokens = plan.tokens // spec.target.frames  # of a picture, where each prompt holds one
    if layout is not None and not layout.units and layout.visual_bn.shape[1] != tokens:
        raise EosError(f"layout has {layout.visual_bn.shape[1]} visual tokens; the operator is for {tokens}")
    if layout is not None:
        return DecoderHooks(model, parts, plan, layout, watch, compiled)
    tower = tower_hooks(parts, plan) if plan.enters_tower else None
    return DecoderHooks(model, parts, plan, CallContext(parts, tokens, plan.needs, tower), watch, compiled)


def attach(
    model: Model,
    operator: OperatorSpec | str | Path | None = None,
    *,
    rescale: bool = False,
    compiled: bool = False,
) -> Model:
    """Put an operator on ``model``, in place.

    Args:
        model: of a known family, itself or in what peft, ``torch.compile`` or parallel training wraps around it (then
            the operator is on the model inside, and found from either); on sdpa, eager or flash attention (not Gemma 3
            and PaliGemma, nor a beta in a tower that is on it).
        operator: itself, its file, a folder with an ``operator.json``, or ``models:/NAME@ALIAS`` in MLflow's registry.
            None: the one that was saved with the model, in the folder it was loaded from. ``model.save_pretrained``
            writes it there while it is attached.
        rescale: one made for a model of other depth, image size or family is made to fit (``eos_platform.rescale``);
            what was changed stands in the ``provenance`` of ``attached_operator(model)``.
        compiled: what is done at a site, and where tokens enter, is fused by ``torch.compile``: seconds to a minute at
            the first prompt of every length, then a fraction of the time. For prompts of one image; others run as they
            are.

    Raises:
        EosError: one is attached already, the operator was made for another model, or attention cannot carry it.
    """
    inner = unwrapped(model)
    note(inner, start(inner, operator, rescale=rescale, compiled=compiled))
    Saving.begin(inner)
    return model


def detach(model: Model) -> Model:
    """Take the operator off ``model``, which is then exactly as it was.

    Raises:
        EosError: none is attached.
    """
    inner = _module(model)
    hooks = forget(inner)
    if hooks is None:
        raise EosError("no operator is attached to this model")
    hooks.remove()
    Saving.end(inner)
    return model


def attached_operator(model: Any) -> OperatorSpec | None:
    """The operator that is on a model; None: there is none."""
    plan = attached_plan(model)
    return None if plan is None else plan.operator


def attached_plan(model: Any) -> OperatorPlan | None:
    """What the operator on a model was compiled to; None: there is none."""
    model = _module(model)
    hooks = hooks_on(model)
    return hooks.plan if isinstance(hooks, DecoderHooks) else None


@contextmanager
def attached(model: Model, operator: OperatorSpec | str | Path, *, rescale: bool = False) -> Iterator[Model]:
    """The model with the operator on it, for a while."""
    inner = unwrapped(model)
    with registered(inner, lambda: start(inner, operator_from(operator), rescale=rescale)):
        Saving.begin(inner)
        try:
            yield model
        finally:
            Saving.end(inner)


@contextmanager
def reducing(model: Model, operator: OperatorSpec | str | Path, layout: Layout) -> Iterator[Model]:
    """The same for direct calls of the language model.

    To compile such calls, compile a function that makes them: of a compiled module, torch runs the outermost hooks
    outside of what it compiled, where the others do not see what they say. On flash attention, whose
    code torch may compile in pieces, that is refused.

    Args:
        layout: of the sequences that ``model.model.language_model(inputs_embeds=...)`` is called with. What the
            operator does in the vision tower has been done (``encode_images``); ``layout.seen`` says what is left.
    """
    with registered(unwrapped(model), lambda: start(model, operator, layout)):
        yield model
