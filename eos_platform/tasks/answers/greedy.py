"""Answers that a model writes token by token, on the batches of any family.

Every token is one pass over the whole prompt, so that operators choose as they do in a prefill. The first pass is
handed the right answer and settles all that is answered rightly; the others go on where they first differ from it.

Legend: b batch, a answer tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.batch import Batch, answer_states


class _Encoded(Protocol):
    model: object

    def batch(self, index_b: Tensor, answers: Sequence[tuple[int, ...]] | None = None) -> Batch: ...


@torch.no_grad()
def written(
    encoded: _Encoded, batch: Batch, operator: OperatorSpec | None, most: Sequence[int], ends: Collection[int]
) -> list[list[int]]:
    """The most likely answer of each question, its end left out.

    Args:
        encoded: the questions.
        batch: some of them, with their right answers.
        operator: at work on the model.
        most: tokens of each, at most; where answers have an end one more is written, so that a longer one is not taken
            for a right one.
        ends: tokens that end an answer.
    """
    reported = _likely(encoded, batch, operator)
    text: list[list[int]] = []
    for row, target in enumerate(batch.target_ba.tolist()):
        count = int(batch.wanted_ba[row].sum())
        same = next((place for place in range(count) if reported[row][place] != target[place]), count)
        text.append([*target[:same], *reported[row][same : same + 1]] if same < count else target[:count])

    def is_open(row: int) -> bool:
        return text[row][-1] not in ends and len(text[row]) < most[row] + bool(ends)

    left = [row for row in range(len(text)) if is_open(row)]
    while left:
        some = encoded.batch(batch.index_b[left], [(*text[row], 0) for row in left])
        for row, tokens in zip(left, _likely(encoded, some, operator), strict=True):
            text[row].append(tokens[len(text[row])])
        left = [row for row in left if is_open(row)]
    return [ids[:-1] if ids[-1] in ends else ids for ids in text]


def ends_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens at which a model stops to write: those of its generation settings, and its tokenizer's."""
    reported = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    result = {*(reported if isinstance(reported, list) else [reported]), getattr(tokenizer, "eos_token_id", None)}
    return frozenset(token for token in result if token is not None)


def _likely(encoded: _Encoded, batch: Batch, operator: OperatorSpec | None) -> list[list[int]]:
    """The most likely token at each place of an answer (b, a), placeholders of pictures left out."""
    adapter = adapter_of(encoded.model)
    with reducing(encoded.model, operator, batch.layout) if operator else nullcontext():
        logits_bav = adapter.logits(answer_states(encoded.model, batch))
    for token in (adapter.parts.image_token, adapter.parts.video_token):
        if token is not None:  # in the next pass it would stand for a picture that there is not
            logits_bav[..., token] = -torch.inf
    result: list[list[int]] = logits_bav.argmax(-1).tolist()
    return result
