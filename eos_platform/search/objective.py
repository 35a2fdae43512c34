"""What a search minimises: the task, staying close to the unreduced model, and compute beyond the budget.

Legend: b batch, a answer tokens, d width, v vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eos_platform.models.adapters.adapter import Adapter
from eos_platform.models.runtime.attach import check_free
from eos_platform.search.config import SearchConfig
from eos_platform.tasks import cache
from eos_platform.tasks.batch import Batch, EncodedQuestions, answer_states, at_once
from eos_platform.tasks.together import group, in_portions

MANY = 256  # questions that take longer to ask than the model's weights to be named by their bytes
STATES = "states"
TEACHER_BATCH = 64  # always the same, so that whoever asks first gets the same numbers


@torch.no_grad()
def teacher_states(model: Any, encoded: EncodedQuestions) -> Tensor:
    """Answer states of the unreduced model for every question (q, a, d); what the search aligns with. Found once."""
    check_free(model)
    if encoded.teacher_qad is None:
        size = min(TEACHER_BATCH, at_once(model)) if on_gpu(model) else TEACHER_BATCH
        key = None
        if encoded.content is not None and len(encoded) >= MANY and group().size == 1:
            key = cache.key_of(model.parameters(), "answer states", encoded.content, size)
        encoded.teacher_qad = _kept(model, encoded, key) if key else None
    if encoded.teacher_qad is None:
        encoded.teacher_qad = _asked(model, encoded, list(encoded.portions(size)))
        if key:
            cache.save(key, {STATES: encoded.teacher_qad})
    return encoded.teacher_qad


def _asked(model: Any, encoded: EncodedQuestions, portions: list[Tensor]) -> Tensor:
    teacher_qad: Tensor | None = None
    for index_b, state_bad in in_portions(portions, lambda index_b: answer_states(model, encoded.batch(index_b))):
        if teacher_qad is None:
            teacher_qad = state_bad.new_zeros(len(encoded), *state_bad.shape[1:])
        teacher_qad[index_b.to(teacher_qad.device)] = state_bad
    if teacher_qad is None:  # fewer portions than processes
        example = answer_states(model, encoded.batch(portions[0][:1]))
        teacher_qad = example.new_zeros(len(encoded), *example.shape[1:])
    return group().sum_(teacher_qad)


def _kept(model: Any, encoded: EncodedQuestions, key: str) -> Tensor | None:
    """What the model said before, in this process or another; None: it was not asked."""
    kept = (cache.load(key) or {}).get(STATES)
    if kept is None:
        return None
    example = answer_states(model, encoded.batch(next(iter(encoded.portions(1)))))
    if (kept.dtype, kept.shape) != (example.dtype, (len(encoded), *example.shape[1:])):
        return None
    return kept.to(example.device)


def on_gpu(model: Any) -> bool:
    """Whether a model's inputs are on a GPU."""
    return bool(model.device.type == "cuda")


def losses(
    adapter: Adapter, state_bad: Tensor, teacher_bad: Tensor, batch: Batch, total: Tensor | None = None
) -> dict[str, Tensor]:
    """Means over answer tokens: ``task_loss`` (cross entropy), ``distill_loss`` (KL from the unreduced model's answers)
    and ``align_loss`` (one minus the cosine to the unreduced model's last hidden states).

    Args:
        adapter: of the model.
        total: the answer tokens of a larger batch that this one is a part of, so that the parts' means add up to its.
    """
    logits_bav = adapter.logits(state_bad).float()
    with torch.no_grad():
        wise_bav = adapter.logits(teacher_bad).float().log_softmax(-1)
    wanted_ba = batch.wanted_ba.float()
    total = wanted_ba.sum() if total is None else total
    task_ba = F.cross_entropy(logits_bav.flatten(0, 1), batch.target_ba.flatten(), reduction="none").view_as(wanted_ba)
    distill_ba = F.kl_div(logits_bav.log_softmax(-1), wise_bav, reduction="none", log_target=True).sum(-1)
    align_ba = 1 - F.cosine_similarity(state_bad.float(), teacher_bad.float(), dim=-1)
    return {
        "task_loss": (task_ba * wanted_ba).sum() / total,
        "distill_loss": (distill_ba * wanted_ba).sum() / total,
        "align_loss": (align_ba * wanted_ba).sum() / total,
    }


def excess(ratio: Tensor, budget: float) -> Tensor:
    """By how much the cost is over the budget, relative to it; 0 when it is not (one-sided)."""
    return F.relu(ratio / budget - 1)


def answer_loss(parts: dict[str, Tensor], config: SearchConfig) -> Tensor:
    """The weighted sum of what answers lose."""
    return (
        config.task_weight * parts["task_loss"]
        + config.distill_weight * parts["distill_loss"]
        + config.align_weight * parts["align_loss"]
    )


def total_loss(parts: dict[str, Tensor], ratio: Tensor, multiplier: Tensor, config: SearchConfig) -> Tensor:
    """The weighted sum, and what the budget's rule adds.

    Args:
        multiplier: 0-dim, penalty per unit of excess; raised while the budget is violated, 0 once counts are whole.
    """
    loss = answer_loss(parts, config)
    if config.budget_rule == "exact":  # the counts meet it already
        return loss
    if config.budget_rule == "two-sided":
        return loss + multiplier * (ratio / config.budget - 1).square()
    over = excess(ratio, config.budget)
    return loss + multiplier * (over + over**2) + config.cost_weight * ratio / config.budget
