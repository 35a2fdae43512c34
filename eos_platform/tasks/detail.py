"""The questions that need detail: a model answers them rightly, but not on pictures of a quarter of the pixels.

On them plain downsampling fails by definition, and so does an operator that keeps no more than a coarse picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image

from eos_platform.protocols import Example
from eos_platform.tasks import cache
from eos_platform.tasks.batch import EncodedQuestions, ask
from eos_platform.tasks.scenes_v2.render import quartered

DETAIL = "detail"  # the group's name, and a task's attribute that says it has one
WHOLE, QUARTER = "whole", "quarter"


def with_less(example: Example) -> Example:
    """The same question about its picture at a quarter of the pixels."""
    return replace(example, image=partial(_shrunk, example), content="")


def whole_and_quarter(encoded: EncodedQuestions, less: Callable[[], EncodedQuestions]) -> tuple[np.ndarray, np.ndarray]:
    """What the unreduced model's answers are worth, (questions,) each: on the pictures, and on a quarter of their
    pixels; kept on disk.

    Args:
        encoded: the questions.
        less: makes the same about pictures at a quarter of the pixels; only where nothing is on disk.
    """
    examples = [encoded.example(number) for number in range(len(encoded))]
    facts = [(one.key, one.question, one.answers) for one in examples]
    key = cache.key_of(encoded.model.parameters(), DETAIL, facts)
    form = (torch.float64, (len(examples),))
    cached = cache.load(key, {WHOLE: form, QUARTER: form})
    if cached is None:
        both = {WHOLE: ask(encoded), QUARTER: ask(less())}
        cached = {name: torch.from_numpy(scores) for name, scores in both.items()}
        cache.save(key, cached)
    return cached[WHOLE].numpy(), cached[QUARTER].numpy()


def needs_detail(whole: np.ndarray, quarter: np.ndarray) -> np.ndarray:
    """Which questions need detail, (questions,) bool: those that the loss of pixels costs."""
    return (whole == 1) & (quarter < 1)


def _shrunk(example: Example) -> Image.Image:
    return Image.fromarray(quartered(np.asarray(example.opened())))
