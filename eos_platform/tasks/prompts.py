"""Prompts by a model's own processor and chat template: a picture, a question and its answer as model inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.protocols import Example

__all__ = ["Example", "Prompt", "made_by", "prompt_text"]

PLAIN_IMAGE = "<image>"  # where a processor names no word for a picture
ASKED, ANSWERED = "question", "answer"  # to see what a template makes of a turn


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
    template_lead = _template_lead(processor)
    numbers: dict[Any, int] = {}
    latest: tuple[int, Any] = (-1, None)  # questions about a picture stand together
    for place, example in enumerate(examples):
        number = numbers.setdefault(example.key or id(example.image), len(numbers))
        if latest[0] != number:
            with reading(f"examples.{place}: its picture"):
                latest = number, example.opened()
        text = prompt_text(processor, example.question)
        inputs = processor(text=[text], images=[latest[1]], return_tensors="pt")
        between = "" if text[-1:].isspace() or getattr(processor, "chat_template", None) else lead
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        if template_lead:
            ids = [_behind(tokenizer, text, template_lead + answer) for answer in example.answers or ("",)]
        else:
            words = [between + answer for answer in example.answers or ("",)]
            ids = [tokenizer(answer, add_special_tokens=False).input_ids for answer in words]
        if not ids[0]:
            raise EosError(f"examples.{place}: the answer is empty")
        most = max(map(len, ids)) + len(end)
        yield Prompt(dict(inputs), (*ids[0], *end), number, example.group, example, most)


def prompt_text(processor: Any, question: str) -> str:
    """The text of a prompt: one user turn by the chat template, or a picture and the question."""
    if not getattr(processor, "chat_template", None):
        return str(getattr(processor, "image_token", None) or PLAIN_IMAGE) + question
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return str(text)


def _template_lead(processor: Any) -> str:
    """Spaces that the chat template puts between a prompt and its answer; empty: none, or there is no template."""
    if not getattr(processor, "chat_template", None):
        return ""
    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASKED}]}
    answered = {"role": "assistant", "content": [{"type": "text", "text": ANSWERED}]}
    try:
        whole = processor.apply_chat_template([asked, answered], tokenize=False)
    except Exception:  # a template may refuse whatever it likes; of prompts alone it is asked elsewhere
        return ""
    prompt = prompt_text(processor, ASKED)
    between = whole[len(prompt) :].split(ANSWERED)[0] if whole.startswith(prompt) else ""
    return between if between.strip(" ") == "" else ""


def _behind(tokenizer: Any, text: str, answer: str) -> list[int]:
    """Tokens of an answer where it stands behind a text."""
    before: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    whole: list[int] = tokenizer(text + answer, add_special_tokens=False).input_ids
    if whole[: len(before)] == before:
        return whole[len(before) :]
    alone: list[int] = tokenizer(answer, add_special_tokens=False).input_ids
    return alone
