"""Version 1 of the drawn task, ``scenes``: what is in a picture, how it is drawn, what is asked about it."""

from eos_platform.tasks.scenes.scene import (
    COLORS,
    CONFIGS,
    GROUNDS,
    LETTERS,
    PATCH,
    PATTERNS,
    SCENE_VERSION,
    SHAPES,
    SPLITS,
    Scene,
    SceneConfig,
    Split,
    Thing,
    make_scene,
    split_of_sign,
)

__all__ = [
    "COLORS",
    "CONFIGS",
    "GROUNDS",
    "LETTERS",
    "PATCH",
    "PATTERNS",
    "SCENE_VERSION",
    "SHAPES",
    "SPLITS",
    "Scene",
    "SceneConfig",
    "Split",
    "Thing",
    "make_scene",
    "split_of_sign",
]
