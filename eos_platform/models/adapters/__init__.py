"""The families of vision-language models that operators attach to, one adapter each (how to add one: README.md)."""

from __future__ import annotations

from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.anyres import LlavaNext, LlavaOnevision
from eos_platform.models.adapters.base import Family
from eos_platform.models.adapters.fixed import Gemma3, InternVL, PaliGemma, SmolVLM
from eos_platform.models.adapters.llava import Llava
from eos_platform.models.adapters.qwen import Qwen
from eos_platform.models.loading.unwrap import inside_named
from eos_platform.plugins import Registry, of_type

FAMILIES: dict[str, Family] = {}  # by model type
ADAPTERS: Registry[Family] = Registry("family", "families", of_type(Family))


def register(family: Family) -> Family:
    """Make a family known, by its configurations' model types; the latest of several wins."""
    for model_type in family.model_types:
        FAMILIES[model_type] = family
    return ADAPTERS.register(family.name, family)


for _family in (Llava, LlavaNext, LlavaOnevision, Qwen, SmolVLM, InternVL, Gemma3, PaliGemma):
    register(_family())


def family_of(model: Any) -> Family:
    """The family of a model.

    Raises:
        EosError: none is known, and how one is added.
    """

    def known(one: Any) -> bool:
        return str(_kind(one)) in FAMILIES and hasattr(one, "model")

    kind = _kind(model)
    family = family_of_type(str(kind))
    if family is None or not hasattr(model, "model"):
        named = f" (model type '{kind}')" if kind else ""
        inner = inside_named(model, known)
        if inner is not None:
            raise EosError(
                f"operators attach to the model itself: {type(model).__name__} holds a {type(inner[1]).__name__} as"
                f" '.{inner[0]}'"
            )
        raise EosError(
            f"operators attach to {', '.join(sorted(FAMILIES))}, not to {type(model).__name__}{named}; how to add a"
            " family: eos_platform/models/adapters/README.md"
        )
    return family


def _kind(model: Any) -> Any:
    return getattr(getattr(model, "config", None), "model_type", None)


def family_of_type(model_type: str) -> Family | None:
    """The family of a configuration's model type, of an installed package too; None: it is of none."""
    brought = (family for family in ADAPTERS.values() if model_type in family.model_types)
    return FAMILIES.get(model_type) or next(brought, None)
