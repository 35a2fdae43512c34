"""What a model is asked, to be looked at: the prompt's text, its ids, the picture, and where the answer stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from PIL import Image

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import family_of_type
from eos_platform.models.loading.opening import opening
from eos_platform.models.loading.pretrained import load
from eos_platform.models.loading.processors import load_processor
from eos_platform.protocols import SPLITS
from eos_platform.tasks.chats import published
from eos_platform.tasks.data.inspect.sheet import sheet
from eos_platform.tasks.data.question import Question
from eos_platform.tasks.files import Files
from eos_platform.tasks.prompts import made_by, prompt_text


@dataclass(frozen=True)
class Shown:
    """One question as a model gets it.

    Attributes:
        lines: what is said of it.
        picture: of it.
    """

    lines: tuple[str, ...]
    picture: Image.Image


def shown_prompt(
    task: Files, number: int, model: str, trust_remote_code: bool = False, chat: str | None = None
) -> Shown:
    """The question of that number, counted from 1 in the data's order, by a model's own processor; no weights are read.

    Raises:
        EosError: there is no such question, or the model's folder has no processor.
    """
    from transformers import AutoConfig

    order = {row.id: place for place, row in enumerate(task.loaded.rows)}
    questions = sorted((one for split in SPLITS for one in task.all(split)), key=lambda one: order[one.facts["row"]])
    if not 1 <= number <= len(questions):
        raise EosError(f"question {number}: the data has {len(questions)} that can be used, counted from 1")
    asked = questions[number - 1]
    with opening(model) as path:
        config = load(AutoConfig, path, trust_remote_code=trust_remote_code)
        processor: Any = published(load_processor(path, trust_remote_code=trust_remote_code), chat)
    family = family_of_type(config.model_type)
    lead = " " if family is None else family.answer_lead
    return Shown(tuple(_lines(task, asked, processor, lead)), sheet([asked]))


def _lines(task: Files, asked: Question, processor: Any, lead: str) -> list[str]:
    split = next(split for split in SPLITS if asked in task.all(split))
    lines = [
        f"{asked.place}; id {asked.id}; split {split}; group {asked.group}",
        f"judged by {task.metric} ({task.why}); right: {list(asked.answers) or 'what the unreduced model writes'}",
    ]
    pictures = asked.opened()
    count = len(pictures) if isinstance(pictures, list) else 1
    lines.append(f"text: {prompt_text(processor, asked.question, count)!r}")
    reported = asked if asked.answers else replace(asked, answers=(asked.question,))  # whose ids are not shown
    prompt = next(iter(made_by(processor, [reported], lead)))
    ids = prompt.inputs["input_ids"][0].tolist()
    lines.append(f"ids: {len(ids)}: {_runs(ids)}")
    for name, value in prompt.inputs.items():
        if name != "input_ids":
            lines.append(f"{name}: {tuple(value.shape)}")
    if asked.answers:
        text = processor.tokenizer.decode(prompt.answer)
        span = f"{len(ids)} .. {len(ids) + len(prompt.answer) - 1}"
        lines.append(f"answer span: {span}: {list(prompt.answer)} = {text!r}")
    return lines


def _runs(ids: list[int]) -> str:
    """Ids, the repeated ones of a picture's placeholder counted."""
    runs = [(number, len(list(same))) for number, same in groupby(ids)]
    return " ".join(str(number) if count < 4 else f"{number} (x {count})" for number, count in runs)
