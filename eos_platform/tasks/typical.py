"""Typical prompts of a task: what costs that follow from a prompt's length, or are timed, are taken at."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext
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


def cost_context(subject: Subject, split: Split = "validation", questions: int = QUESTIONS) -> CostContext:
    """What costs of operators on ``subject`` are taken from.

    Args:
        questions: of ``split``, among which a typical prompt is looked for, when a cost asks for one.
    """

    @cache
    def encoded() -> EncodedQuestions:
        return subject.encoded(split, questions)

    def prompts(operator: OperatorSpec | None, batch: int) -> Prefill:
        seen = encoded() if operator is None else encoded().encoded_with(operator)
        return typical(seen, batch).prefill

    return CostContext(subject.shape, subject.target, subject.text_tokens, getattr(subject, "model", None), prompts)
