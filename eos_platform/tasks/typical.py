"""Typical prompts of a task: what costs that follow from a prompt's length, or are timed, are taken at."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.prefill import Prefill
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import Asked, Batch
from eos_platform.tasks.scenes import Split

QUESTIONS = 256  # that tell what prompts usually are


def typical(encoded: Asked, batch: int) -> Batch:
    """A question of median length, ``batch`` times, its answer cut off."""
    found = encoded.batch(torch.full((batch,), _middle(encoded), device=encoded.model.device))
    prefill = found.prefill.until(int(found.layout.last_b[0]) + 1)
    # no mask where it says no more than that there is no padding
    plain = isinstance(prefill.mask, Tensor) and prefill.mask.dim() == 2 and bool(prefill.mask.all())
    return replace(found, prefill=replace(prefill, mask=None) if plain else prefill)


def _middle(encoded: Any) -> int:
    """The number of a question of median length, about pictures of the size that most are of."""
    groups = getattr(encoded, "groups", None)
    members = max(groups.values(), key=len) if groups else list(range(len(encoded)))
    lengths = encoded.lengths if hasattr(encoded, "lengths") else encoded.prompt_q.tolist()
    return sorted(members, key=lambda number: lengths[number])[len(members) // 2]


def cost_context(subject: Subject, split: Split = "validation", questions: int = QUESTIONS) -> CostContext:
    """What costs of operators on ``subject`` are taken from.

    Args:
        questions: of ``split``, among which a typical prompt is looked for, when a cost asks for one.
    """

    @cache
    def encoded() -> Asked:
        return subject.encoded(split, questions)

    def prompts(operator: OperatorSpec | None, batch: int) -> Prefill:
        seen = encoded() if operator is None else encoded().seen_by(operator)
        return typical(seen, batch).prefill

    return CostContext(subject.shape, subject.target, subject.text_tokens, getattr(subject, "model", None), prompts)
