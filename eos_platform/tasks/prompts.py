"""Prompts by a model's own processor and chat template: a picture, a question and its answer as model inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from torch import Tensor

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.protocols import Example
from eos_platform.tasks.data.pictures import ahead
from eos_platform.tasks.data.question import MARK
from eos_platform.tasks.prompting.once import Once, Ready

__all__ = ["Example", "Prompt", "made_by", "prompt_text"]

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


def made_by(
    processor: Any,
    examples: Sequence[Example],
    lead: str = " ",
    unanswered: bool = False,
    once: Once | None = None,
    first: int = 0,
) -> Iterator[Prompt]:
    """Prompts of one user turn, a picture and a question, as the model's own processor and chat template have them.

    Without a template a prompt is the word for a picture, and the question.

    Args:
        processor: the model's own.
        examples: questions.
        lead: what stands between a prompt without template and its answer.
        unanswered: examples may come without answers; a token that means nothing stands for each.
        once: of this processor: pixels come with the first prompt about a picture, and need not with later ones.
        first: the number of the first example, for messages.

    Raises:
        EosError: the processor has no tokenizer, or an answer is empty.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise EosError(f"{type(processor).__name__} has no tokenizer: prompts need the model's own processor")
    if getattr(processor, "chat_template", None):
        lead = ""
    leads = lead, _template_lead(processor)
    maker = once or Once(processor)
    about = [maker.number(example) for example in examples]
    # questions about a picture stand together; the next pictures are opened while these are encoded
    runs = [list(some) for _, some in groupby(enumerate(examples), lambda one: about[one[0]])]

    def ready(run: list[tuple[int, Example]]) -> Ready | None:
        place, example = run[0]
        known = once is not None and maker.knows(about[place])
        return None if known else maker.prepared(_opened(first + place, example))

    for run, opened in ahead(ready, runs):
        if isinstance(opened, EosError):
            raise opened
        for place, example in run:
            number, late = about[place], partial(_late, maker, first + place, example)
            count = maker.count(number) if opened is None else len(opened.pictures)
            asked = example.question
            text = maker.remembered((asked, count), partial(prompt_text, processor, asked, count))
            with reading(f"question {first + place + 1} cannot be put to this model"):
                if once is None:
                    inputs = maker.whole(number, text, opened or late())
                else:
                    inputs = maker(number, text, late if opened is None else partial(_now, opened))
            answers = [
                maker.remembered((text, answer, "answer"), partial(_answer_ids, tokenizer, text, answer, *leads))
                for answer in example.answers or ("",)
            ]
            yield _prompt(tokenizer, first + place, example, inputs, number, answers, unanswered)


def _late(maker: Once, place: int, example: Example) -> Ready:
    """Pictures that had to be opened after all."""
    return maker.prepared(_opened(place, example))


def _now(ready: Ready) -> Ready:
    return ready


def _prompt(
    tokenizer: Any,
    place: int,
    example: Example,
    inputs: Mapping[str, Any],
    number: int,
    ids: Sequence[Sequence[int]],
    unanswered: bool,
) -> Prompt:
    """``ids``: tokens of each right answer."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    if unanswered and not example.answers:
        return Prompt(dict(inputs), (0,), number, example.group, example)
    if not ids[0]:
        raise EosError(f"examples.{place}: the answer is empty")
    most = max(*map(len, ids), getattr(example, "most", 0)) + len(end)
    return Prompt(dict(inputs), (*ids[0], *end), number, example.group, example, most)


def _answer_ids(tokenizer: Any, text: str, answer: str, lead: str, template_lead: str) -> list[int]:
    """Tokens of an answer; one that brings its own space is taken as it is."""
    if template_lead:
        return _behind(tokenizer, text, answer if answer[:1].isspace() else template_lead + answer)
    between = "" if text[-1:].isspace() else lead
    alone: list[int] = tokenizer(between + answer, add_special_tokens=False).input_ids
    return alone


def _opened(place: int, example: Example) -> list[Any]:
    """The pictures of a question.

    Raises:
        EosError: one cannot be opened.
    """
    with reading(f"examples.{place}: its picture"):
        result = example.opened()
    return list(result) if isinstance(result, (list, tuple)) else [result]


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


def _template_lead(processor: Any) -> str:
    """Spaces that the chat template puts between a prompt and its answer; empty: none, or there is no template."""
    if not getattr(processor, "chat_template", None):
        return ""
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASKED}]}
    answered = {"role": "assistant", "content": [{"type": "text", "text": ANSWERED}]}
    try:
        whole = processor.apply_chat_template([message, answered], tokenize=False)
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
