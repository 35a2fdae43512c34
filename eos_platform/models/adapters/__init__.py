"""The families of vision-language models that operators attach to, one adapter each (how to add one: README.md)."""

from __future__ import annotations

from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.anyres import LlavaNext, LlavaOnevision
from eos_platform.models.adapters.base import Family
from eos_platform.models.adapters.families.gemma4 import Gemma4
from eos_platform.models.adapters.families.next_video import NextVideo
from eos_platform.models.adapters.families.qwen35 import Qwen35
from eos_platform.models.adapters.families.qwen_like import Glm, Omni, PaddleOcr, QwenMoe
from eos_platform.models.adapters.families.sized import LightOnOcr, Mistral3, VideoLlama3
from eos_platform.models.adapters.families.tiles import Cohere, DeepseekVl, Idefics2, Ovis2
from eos_platform.models.adapters.fixed import Gemma3, InternVL, PaliGemma, SmolVLM
from eos_platform.models.adapters.llava import Llava
from eos_platform.models.adapters.qwen import Qwen
from eos_platform.models.loading.unwrap import inside_named
from eos_platform.plugins import Registry, of_type

FAMILIES: dict[str, Family] = {}  # by model type


def _brought(thing: Any) -> Family:
    """A family of another package, which must say whose it is, and of no model type that is another's.

    Raises:
        TypeError: it does not, or is.
    """
    family = of_type(Family)(thing)
    name, types = getattr(family, "name", None), getattr(family, "model_types", None)
    if not isinstance(name, str) or not name:
        raise TypeError("a family has a name, which is text")
    if not isinstance(types, tuple) or not types or not all(isinstance(one, str) for one in types):
        raise TypeError(f"a family's model_types are a tuple of texts, such as ('llava',), not {types!r}")
    for other in (*FAMILIES.values(), *ADAPTERS.loaded()):
        if taken := set(types) & set(other.model_types):
            raise TypeError(f"model type '{min(taken)}' is of the family '{other.name}'")
    return family


ADAPTERS: Registry[Family] = Registry("family", "families", _brought)  # looked up by model type, so names may differ


def register(family: Family) -> Family:
    """Make a family known, by its configurations' model types; the latest of several wins."""
    for model_type in family.model_types:
        FAMILIES[model_type] = family
    return ADAPTERS.register(family.name, family)


_FIRST = (Llava, LlavaNext, LlavaOnevision, Qwen, SmolVLM, InternVL, Gemma3, PaliGemma)
_FURTHER = (Qwen35, QwenMoe, Omni, Glm, PaddleOcr, Mistral3, LightOnOcr, VideoLlama3, Cohere, Ovis2, DeepseekVl,
            Idefics2, NextVideo, Gemma4)  # fmt: skip
for _family in (*_FIRST, *_FURTHER):
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
