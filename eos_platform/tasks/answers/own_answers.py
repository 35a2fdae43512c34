"""Questions without answers: what the unreduced model writes stands for them, so that an operator is to keep it so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from eos_platform.models.runtime.attach import check_free
from eos_platform.tasks import cache
from eos_platform.tasks.answers.greedy import ends_of, written
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.examples import EncodedExamples

BATCH = 64
MOST = 16  # tokens of an answer
MANY = 256  # questions whose answers take longer to write than the model's weights to be named by their bytes
LENGTHS, WORDS = "lengths", "words"


@torch.no_grad()
def answer_themselves(encoded: EncodedExamples, most: int = 0, name: str | None = None) -> None:
    """Give every question the greedy answer of its own model, as tokens, with its end where it comes to one in time.

    Args:
        encoded: questions, with answers that stand for nothing.
        most: tokens of an answer; 0: the default.
        name: of the questions, by all that their prompts are made of; with it the answers to many are kept on disk.

    Raises:
        EosError: an operator is attached.
    """
    check_free(encoded.model)
    ends, most = ends_of(encoded.model, encoded.tokenizer), most or MOST
    key = None
    if name is not None and len(encoded) >= MANY and cache.cache_folder() is not None:
        key = cache.key_of(encoded.model.parameters(), "own answers", name, most, sorted(ends))
    answers = None if key is None else _kept(key, len(encoded))
    if answers is None:
        answers = _written(encoded, most, ends)
        if key is not None:
            lengths = torch.tensor([len(one) for one in answers])
            cache.save(key, {LENGTHS: lengths, WORDS: torch.tensor([word for one in answers for word in one])})
    for number, answer in enumerate(answers):
        encoded.prompts[number] = replace(encoded.prompts[number], answer=answer)
    encoded.longest = max(map(len, answers))


def _written(encoded: EncodedExamples, most: int, ends: Collection[int]) -> list[tuple[int, ...]]:
    end = getattr(encoded.tokenizer, "eos_token_id", None)
    closing: tuple[int, ...] = (end,) if end is not None and end in ends else tuple(sorted(ends)[:1])
    answers: dict[int, tuple[int, ...]] = {}
    batches = counted("asking the unreduced model", encoded.batches(BATCH), _batches(encoded))
    for batch in batches:
        text = written(encoded, batch, None, [most] * len(batch.index_b), ends)
        for number, ids in zip(batch.index_b.tolist(), text, strict=True):
            answer = (*ids[:most], *(closing if len(ids) < most else ()))
            answers[number] = answer or closing
    return [answers[number] for number in range(len(encoded))]


def _batches(encoded: EncodedExamples) -> int:
    return sum(-(-len(members) // BATCH) for members in encoded.groups.values())


def _kept(key: str, questions: int) -> list[tuple[int, ...]] | None:
    """Answers from disk; None: they are not there."""
    tensors = cache.load(key)
    if tensors is None or tensors.keys() != {LENGTHS, WORDS} or len(tensors[LENGTHS]) != questions:
        return None
    return [tuple(one.tolist()) for one in tensors[WORDS].split(tensors[LENGTHS].tolist())]
