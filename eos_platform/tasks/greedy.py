"""Answers that a model writes token by token, on the batches of any family.

Every token is one pass over the whole prompt, so that operators choose as they do in a prefill. The first pass is
handed the right answer and settles all that is answered rightly; the others go on where they first differ from it.

Legend: b batch, a answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from eos_platform.models.adapter import adapter_of
from eos_platform.models.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.batch import Batch, answer_states


class _Encoded(Protocol):
    model: object

    def batch(self, index_b: Tensor, answers: Sequence[tuple[int, ...]] | None = None) -> Batch: ...


@torch.no_grad()
def written(
    encoded: _Encoded, batch: Batch, operator: OperatorSpec | None, most: Sequence[int], end: int | None
) -> list[list[int]]:
    """The most likely answer of each question, its end left out.

    Args:
        encoded: the questions.
        batch: some of them, with their right answers.
        operator: at work on the model.
        most: tokens of each, at most; one more is written, so that a longer answer is not taken for a right one.
        end: token that ends an answer; None: there is none.
    """
    told = _likely(encoded, batch, operator)
    said: list[list[int]] = []
    for row, target in enumerate(batch.target_ba.tolist()):
        count = int(batch.wanted_ba[row].sum())
        same = next((place for place in range(count) if told[row][place] != target[place]), count)
        said.append([*target[:same], *told[row][same : same + 1]] if same < count else target[:count])

    def is_open(row: int) -> bool:
        return said[row][-1] != end and len(said[row]) <= most[row]

    left = [row for row in range(len(said)) if is_open(row)]
    while left:
        some = encoded.batch(batch.index_b[left], [(*said[row], 0) for row in left])
        for row, tokens in zip(left, _likely(encoded, some, operator), strict=True):
            said[row].append(tokens[len(said[row])])
        left = [row for row in left if is_open(row)]
    return [ids[:-1] if ids[-1] == end else ids for ids in said]


def _likely(encoded: _Encoded, batch: Batch, operator: OperatorSpec | None) -> list[list[int]]:
    """The most likely token at each place of an answer (b, a)."""
    with reducing(encoded.model, operator, batch.layout) if operator else nullcontext():
        state_bad = answer_states(encoded.model, batch)
        found: list[list[int]] = adapter_of(encoded.model).logits(state_bad).argmax(-1).tolist()
    return found
