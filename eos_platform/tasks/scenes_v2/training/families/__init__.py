"""The families that the task's models are trained in, each a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from eos_platform.common.errors import unknown
from eos_platform.tasks.scenes_v2.training.families.base import Family
from eos_platform.tasks.scenes_v2.training.families.gemma import Gemma
from eos_platform.tasks.scenes_v2.training.families.llava import LARGE, MEDIUM, Llava
from eos_platform.tasks.scenes_v2.training.families.onevision import OneVision
from eos_platform.tasks.scenes_v2.training.families.qwen import Qwen
from eos_platform.tasks.scenes_v2.training.families.smolvlm import SmolVlm

FAMILIES: dict[str, Callable[[], Family]] = {
    "bundled": lambda: Llava(24, 4.0),
    "bundled-small": lambda: Llava(12, 0.4),
    "bundled-qwen": Qwen,
    "bundled-smolvlm": SmolVlm,
    "bundled-gemma": Gemma,
    "bundled-onevision": OneVision,
}

# the layout of bundled-small at other sizes; none of them ships
SIZES: dict[str, Callable[[], Family]] = {
    "small-10m": lambda: Llava(12, 1.2, MEDIUM),
    "small-30m": lambda: Llava(12, 3.0, LARGE),
}
TRAINABLE = {**FAMILIES, **SIZES}


def family(name: str) -> Family:
    """What is needed to train the model of that name.

    Raises:
        EosError: there is none.
    """
    if name not in TRAINABLE:
        raise unknown("model to train", name, TRAINABLE)
    return TRAINABLE[name]()


__all__ = ["FAMILIES", "SIZES", "TRAINABLE", "Family", "family"]
