"""Prompts by a model's own processor and chat template: a picture, a question and its answer as model inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eos_platform.common.errors import EosError

PLAIN_IMAGE = "<image>"  # where a processor names no word for a picture


@dataclass(frozen=True)
class Example:
    """A question about a picture.

    Attributes:
        image: whatever the processor takes; one that several questions are about is encoded once (told by identity).
        question: in words.
        answer: that is right.
        skill: what the question is about, for accuracies by skill.
    """

    image: Any
    question: str
    answer: str
    skill: str = "all"


@dataclass(frozen=True)
class Prompt:
    """One question as a model's inputs.

    Attributes:
        inputs: of one prompt without its answer, and of its pictures, as the model's processor makes them.
        answer: tokens of the answer, its end among them.
        picture: tells pictures apart: prompts of the same one share what is made of it.
        skill: what it is about.
    """

    inputs: Mapping[str, Tensor]
    answer: tuple[int, ...]
    picture: int
    skill: str = "all"


def made_by(processor: Any, examples: Sequence[Example], lead: str = " ") -> Iterator[Prompt]:
    """Prompts of one user turn, a picture and a question, as the model's own processor and chat template have them.

    Without a template a prompt is the word for a picture, and the question.

    Args:
        processor: the model's own.
        examples: questions.
        lead: what stands between a prompt without template and its answer.

    Raises:
        EosError: the processor has no tokenizer, or an answer is empty.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise EosError(f"{type(processor).__name__} has no tokenizer: prompts need the model's own processor")
    numbers: dict[int, int] = {}
    for place, example in enumerate(examples):
        text = prompt_text(processor, example.question)
        inputs = processor(text=[text], images=[example.image], return_tensors="pt")
        between = "" if text[-1:].isspace() or getattr(processor, "chat_template", None) else lead
        answer = tokenizer(between + example.answer, add_special_tokens=False).input_ids
        if not answer:
            raise EosError(f"examples.{place}: the answer is empty")
        if tokenizer.eos_token_id is not None:
            answer = [*answer, tokenizer.eos_token_id]
        number = numbers.setdefault(id(example.image), len(numbers))
        yield Prompt(dict(inputs), tuple(answer), number, example.skill)


def prompt_text(processor: Any, question: str) -> str:
    """The text of a prompt: one user turn by the chat template, or a picture and the question."""
    if not getattr(processor, "chat_template", None):
        return str(getattr(processor, "image_token", None) or PLAIN_IMAGE) + question
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return str(text)
