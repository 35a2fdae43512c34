"""Questions without answers: what the unreduced model writes stands for them, so that an operator is to keep it so."""

from __future__ import annotations

from dataclasses import replace

import torch

from eos_platform.models.runtime.attach import check_free
from eos_platform.tasks.answers.greedy import ends_of, written
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.examples import EncodedExamples

BATCH = 64
MOST = 16  # tokens of an answer


@torch.no_grad()
def answer_themselves(encoded: EncodedExamples, most: int = 0) -> None:
    """Give every question the greedy answer of its own model, as tokens, with its end where it comes to one in time.

    Args:
        encoded: questions, with answers that stand for nothing.
        most: tokens of an answer; 0: the default.

    Raises:
        EosError: an operator is attached.
    """
    check_free(encoded.model)
    ends, most = ends_of(encoded.model, encoded.tokenizer), most or MOST
    end = getattr(encoded.tokenizer, "eos_token_id", None)
    closing = (end,) if end in ends else tuple(sorted(ends)[:1])
    for batch in counted("asking the unreduced model", encoded.batches(BATCH)):
        text = written(encoded, batch, None, [most] * len(batch.index_b), ends)
        for number, ids in zip(batch.index_b.tolist(), text, strict=True):
            answer = tuple(ids[:most]) + (closing if len(ids) < most else ())
            encoded.prompts[number] = replace(encoded.prompts[number], answer=answer or closing)
    encoded.longest = max(len(prompt.answer) for prompt in encoded.prompts)
