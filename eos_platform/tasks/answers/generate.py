"""Answers as a deployed model writes them: its own processor, ``generate``, an operator attached, several at a time.

This is what a user runs; ``greedy`` writes the same answers on questions that are encoded already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.loading.devices import find_device
from eos_platform.models.loading.opening import opening, place_of
from eos_platform.models.loading.pretrained import load_model
from eos_platform.models.loading.processors import load_processor
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Example
from eos_platform.tasks.answers.greedy import ends_of
from eos_platform.tasks.data.pictures import ahead
from eos_platform.tasks.prompts import prompt_text

BATCH = 16


def load_pair(
    model: str | Path, device: str | None = None, *, trust_remote_code: bool = False, allow_missing: bool = False
) -> tuple[Any, Any]:
    """A model of any family and its processor.

    Args:
        model: a bundled model's name, or a folder.
        device: where to run; default: the GPU if there is one, in bfloat16.
        trust_remote_code: run Python that lies in the folder.
        allow_missing: draw weights that it lacks.

    Raises:
        EosError: there is no such model, or it cannot be loaded.
    """
    from transformers import AutoModelForImageTextToText

    name = str(model)
    place_of(name)
    place = find_device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    with opening(name) as path:
        loaded: Any = load_model(
            AutoModelForImageTextToText,
            path,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            allow_missing=allow_missing,
        )
        processor = load_processor(path, trust_remote_code=trust_remote_code)
    if getattr(processor, "tokenizer", None) is None:
        raise EosError(f"{type(processor).__name__} has no tokenizer: prompts need the model's own processor")
    return loaded.to(place).eval().requires_grad_(False), processor


@torch.no_grad()
def answers(
    model: Any,
    processor: Any,
    questions: Sequence[Example],
    operator: OperatorSpec | None = None,
    *,
    batch: int = BATCH,
    most: int = 16,
) -> Iterator[list[tuple[Example, str]]]:
    """What the model writes, greedily, a batch at a time and in order.

    Args:
        model: of any family.
        processor: its own.
        questions: that are asked.
        operator: to be on the model meanwhile.
        batch: questions at a time.
        most: tokens of an answer.

    Raises:
        EosError: a picture cannot be read, or the processor takes none such.
    """
    starts = range(0, len(questions), batch)
    some = [questions[start : start + batch] for start in starts]
    with attached(model, operator) if operator is not None else nullcontext():
        for group, pictures in ahead(_opened, some, 2):
            if isinstance(pictures, EosError):
                raise pictures
            texts = write(model, processor, [one.question for one in group], pictures, most)
            yield list(zip(group, texts, strict=True))


def _opened(group: Sequence[Example]) -> list[list[Any]]:
    result = [one.opened() for one in group]
    return [list(one) if isinstance(one, (list, tuple)) else [one] for one in result]


@torch.no_grad()
def write(
    model: Any,
    processor: Any,
    questions: Sequence[str],
    pictures: Sequence[Sequence[Any]],
    most: int,
    *,
    prompts: Sequence[str] | None = None,
) -> list[str]:
    """Answers to some questions at once, with whatever operator is on the model.

    Args:
        model: of any family.
        processor: its own.
        questions: texts.
        pictures: of each.
        most: tokens of an answer.
        prompts: whole texts with placeholders, instead of those that the questions make.

    Raises:
        EosError: the processor takes no such prompts.
    """
    tokenizer = processor.tokenizer
    texts = prompts or [prompt_text(processor, one, len(held)) for one, held in zip(questions, pictures, strict=True)]
    single = all(len(held) == 1 for held in pictures) and len(pictures) == 1
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        with reading("a question cannot be put to this model"):
            images = list(pictures[0]) if single else [list(held) for held in pictures]
            padding = {"padding": True} if len(texts) > 1 else {}
            inputs = processor(text=list(texts), images=images, return_tensors="pt", **padding)
    finally:
        tokenizer.padding_side = side
    inputs = inputs.to(model.device, model.dtype)
    parts, ends = parts_of(model), sorted(ends_of(model, tokenizer))
    never = [token for token in (parts.image_token, parts.video_token) if token is not None]
    ids = model.generate(
        **inputs,
        max_new_tokens=most,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        suppress_tokens=never or None,
        eos_token_id=ends or None,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends or [0])[0],
    )
    written = ids[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(written, skip_special_tokens=True)]
