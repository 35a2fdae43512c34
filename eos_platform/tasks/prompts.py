"""Prompts by a model's own processor and chat template: a picture, a question and its answer as model inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import Tensor

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.protocols import Example
from eos_platform.tasks.data.pictures import ahead
from eos_platform.tasks.data.question import MARK

__all__ = ["Example", "Prompt", "made_by", "prompt_text"]

SAID = "said"  # stands for any answer


@dataclass(frozen=True)
class Prompt:
    """One question as a model's inputs.

    Attributes:
        inputs: of one prompt without its answer, and of its pictures, as the model's processor makes them.
        answer: tokens of the answer, its end among them.
        picture: tells pictures apart: prompts of the same one share what is made of it.
        skill: what it is about.
        example: the question itself, where it is known.
        most: tokens of its longest right answer.
    """

    inputs: Mapping[str, Tensor]
    answer: tuple[int, ...]
    picture: int
    skill: str = "all"
    example: Example | None = None
    most: int = 0


def made_by(processor: Any, examples: Sequence[Example], lead: str = " ", unanswered: bool = False) -> Iterator[Prompt]:
    """Prompts of one user turn, a picture and a question, as the model's own processor and chat template have them.

    Without a template a prompt is the word for a picture, and the question.

    Args:
        processor: the model's own.
        examples: questions.
        lead: what stands between a prompt without template and its answer.
        unanswered: examples may come without answers; a token that means nothing stands for each.

    Raises:
        EosError: the processor has no tokenizer, or an answer is empty.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise EosError(f"{type(processor).__name__} has no tokenizer: prompts need the model's own processor")
    if getattr(processor, "chat_template", None):
        lead = _lead(processor)
    numbers: dict[Any, int] = {}
    about = [numbers.setdefault(example.key or id(example.image), len(numbers)) for example in examples]
    # questions about a picture stand together; the next pictures are opened while these are encoded
    runs = [list(some) for _, some in groupby(enumerate(examples), lambda one: about[one[0]])]
    for run, pictures in ahead(lambda run: _opened(run[0][1]), runs):
        if isinstance(pictures, EosError):
            raise pictures
        for place, example in run:
            yield _prompt(processor, tokenizer, place, example, pictures, about[place], lead, unanswered)


def _prompt(
    processor: Any,
    tokenizer: Any,
    place: int,
    example: Example,
    pictures: list[Any],
    number: int,
    lead: str,
    unanswered: bool,
) -> Prompt:
    text = prompt_text(processor, example.question, len(pictures))
    with reading(f"question {place + 1} cannot be put to this model"):
        inputs = processor(text=[text], images=pictures if len(pictures) == 1 else [pictures], return_tensors="pt")
    between = "" if text[-1:].isspace() else lead
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    answers = example.answers or ("",)
    ids = [_ids(tokenizer, text, answer if answer[:1].isspace() else between + answer) for answer in answers]
    if unanswered and not example.answers:
        return Prompt(dict(inputs), (0,), number, example.group, example)
    if not ids[0]:
        raise EosError(f"examples.{place}: the answer is empty")
    most = max(*map(len, ids), getattr(example, "most", 0)) + len(end)
    return Prompt(dict(inputs), (*ids[0], *end), number, example.group, example, most)


def _ids(tokenizer: Any, text: str, answer: str) -> list[int]:
    """Tokens of an answer as they stand behind a prompt, where words and spaces may join otherwise than alone."""
    before = tokenizer(text, add_special_tokens=False).input_ids
    whole = tokenizer(text + answer, add_special_tokens=False).input_ids
    if answer and whole[: len(before)] == before and len(whole) > len(before):
        return list(whole[len(before) :])
    return list(tokenizer(answer, add_special_tokens=False).input_ids)


def _lead(processor: Any) -> str:
    """The space that a chat template puts between where an answer begins and the answer itself, if it does."""
    turn = {"role": "user", "content": [{"type": "text", "text": "q"}]}
    told = {"role": "assistant", "content": [{"type": "text", "text": SAID}]}
    try:
        front = str(processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False))
        whole = str(processor.apply_chat_template([turn, told], tokenize=False))
    except Exception:  # templates raise what they like at turns that they do not know
        return ""
    between = whole[len(front) :].partition(SAID)[0] if whole.startswith(front) else ""
    return between if between.isspace() else ""


def _opened(example: Example) -> list[Any]:
    """The pictures of a question."""
    found = example.opened()
    return list(found) if isinstance(found, (list, tuple)) else [found]


def prompt_text(processor: Any, question: str, pictures: int = 1) -> str:
    """The text of a prompt: one user turn by the chat template, or pictures and the question.

    Pictures stand where ``<image>`` is in the question; in front of it, where it names no places.
    """
    pieces = question.split(MARK) if question.count(MARK) == pictures else ["", *[""] * (pictures - 1), question]
    if not getattr(processor, "chat_template", None):
        return str(getattr(processor, "image_token", None) or MARK).join(pieces)
    content: list[dict[str, str]] = []
    for place, piece in enumerate(pieces):
        content += [{"type": "image"}] if place else []
        content += [{"type": "text", "text": piece}] if piece else []
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return str(text)
