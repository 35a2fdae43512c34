"""Typical prompts of a task: what costs that follow from a prompt's length, or are timed, are taken at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext, Setting
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import Batch, EncodedQuestions
from eos_platform.tasks.scenes import Split

QUESTIONS = 256  # that tell what prompts usually are


def typical(encoded: EncodedQuestions, batch: int) -> Batch:
    """A question of median length, ``batch`` times, its answer cut off."""
    selected = encoded.batch(torch.full((batch,), encoded.middle(), device=encoded.model.device))
    prefill = selected.prefill.until(int(selected.layout.last_b[0]) + 1)
    # no mask where that of a prompt without padding is the plain one
    plain = not adapter_of(encoded.model).family.own_masks
    return replace(selected, prefill=replace(prefill, mask=None) if plain else prefill)


def cost_context(
    subject: Subject, split: Split = "validation", questions: int = QUESTIONS, setting: Setting | None = None
) -> CostContext:
    """What costs of operators on ``subject`` are taken from.

    Args:
        questions: of ``split``, among which a typical prompt is looked for, when a cost asks for one.
        setting: how the model is run; default: one prompt, eager.
    """

    @cache
    def encoded() -> EncodedQuestions:
        return subject.encoded(split, questions)

    def prompts(operator: OperatorSpec | None, batch: int) -> Prefill:
        seen = encoded() if operator is None else encoded().encoded_with(operator)
        return typical(seen, batch).prefill

    def sees(operator: OperatorSpec | None, batch: int) -> Callable[[], Any]:
        return encoded().seeing(operator, batch)

    model, usual = getattr(subject, "model", None), getattr(subject, "usual_units", None)
    return CostContext(
        subject.shape,
        subject.target,
        subject.text_tokens,
        model,
        prompts,
        setting or Setting(),
        usual or (),
        sees,
    )
