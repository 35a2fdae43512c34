"""The families that the task's models are trained in, each a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from eos_platform.common.errors import unknown
from eos_platform.tasks.scenes_v2.training.families.base import Family
from eos_platform.tasks.scenes_v2.training.families.gemma import Gemma
from eos_platform.tasks.scenes_v2.training.families.llava import Llava
from eos_platform.tasks.scenes_v2.training.families.onevision import OneVision
from eos_platform.tasks.scenes_v2.training.families.qwen import Qwen
from eos_platform.tasks.scenes_v2.training.families.smolvlm import SmolVlm

FAMILIES: dict[str, Callable[[], Family]] = {
    "bundled": lambda: Llava(24),
    "bundled-small": lambda: Llava(12),
    "bundled-qwen": Qwen,
    "bundled-smolvlm": SmolVlm,
    "bundled-gemma": Gemma,
    "bundled-onevision": OneVision,
}


def family(name: str) -> Family:
    """What is needed to train the model of that name.

    Raises:
        EosError: there is none.
    """
    if name not in FAMILIES:
        raise unknown("model to train", name, FAMILIES)
    return FAMILIES[name]()


__all__ = ["FAMILIES", "Family", "family"]
