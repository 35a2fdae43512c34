"""Example pictures, and which tokens an operator keeps on them: data enough to draw both without the model."""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from PIL import Image

from eos_platform.models.relaxation.trace import Kept, kept_of
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions
from eos_platform.tasks.examples import EncodedExamples

PIXELS_A_TOKEN = 8  # enough to recognise what is under a token
LARGEST = 1536  # pixels of a side
COLOURS = 64
LONGEST = 1000  # characters of a text


def chosen(encoded: EncodedQuestions, count: int) -> list[int]:
    """Question numbers to show, each about another picture and of another skill where there are as many."""
    numbers: list[int] = []
    pictures: set[int] = set()
    skills: set[str] = set()
    about = encoded.about
    for new_skill in (True, False):
        for number, (picture, skill) in enumerate(zip(about, encoded.skills, strict=True)):
            if len(numbers) < count and picture not in pictures and not (new_skill and skill in skills):
                if encoded.shown(number) is None:
                    continue
                numbers.append(number)
                pictures.add(picture)
                skills.add(skill)
    return sorted(numbers)


def about_one(encoded: EncodedQuestions, count: int) -> list[int]:
    """Numbers of questions about one picture, the first of those asked most: spread over them, at most ``count``."""
    about: dict[int, list[int]] = {}
    for number, picture in enumerate(encoded.about):
        if encoded.shown(number) is not None:
            about.setdefault(picture, []).append(number)
    numbers = max(about.values(), key=len)
    count = min(count, len(numbers))
    return [numbers[place * (len(numbers) - 1) // max(1, count - 1)] for place in range(count)]


def examples(encoded: EncodedQuestions, count: int) -> list[dict[str, Any]]:
    """The pictures with their questions, as plain data."""
    return [example(encoded, number) for number in chosen(encoded, count)]


def example(encoded: EncodedQuestions, number: int) -> dict[str, Any]:
    """A picture with one of the questions about it, as plain data."""
    question, shown = encoded.example(number), encoded.shown(number)
    assert shown is not None
    return {
        "question": number,
        "skill": question.group[:LONGEST],
        "text": question.question[:LONGEST],
        "answer": question.answer[:LONGEST],
        "grid": list(shown[0]),
        "png": png_uri(picture_of(encoded, number), shown[0]),
    }


def picture_of(encoded: EncodedQuestions, number: int) -> Image.Image:
    """The picture that ``shown`` is of: of several in a prompt, such as the frames of a film, one."""
    opened = encoded.example(number).opened()
    if isinstance(opened, (list, tuple)):
        assert isinstance(encoded, EncodedExamples)
        return opened[encoded.adapter.family.whole]
    return opened


def png_uri(picture: Image.Image, grid: tuple[int, int]) -> str:
    """A small PNG as a data URI."""
    a_token = max(1, min(PIXELS_A_TOKEN, LARGEST // max(grid)))
    small = picture.resize((grid[1] * a_token, grid[0] * a_token), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.quantize(COLOURS).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


@torch.no_grad()
def kept_on(
    workload: Subject, operator: OperatorSpec, encoded: EncodedQuestions, questions: list[int]
) -> list[list[dict[str, Any]]]:
    """For each question, one mapping a site: where it stands, the raster places present after it, and their sizes.

    Of pictures that come in several parts, the places are those of the part that shows the whole picture.

    Args:
        encoded: questions as the operator's vision tower sees them.
    """
    if not questions:
        return []
    batch = encoded.batch(torch.tensor(questions, device=workload.model.device))
    sites = kept_of(workload.model, operator, batch.prefill)
    return [
        [{"place": site.place, "layer": site.layer, **_within(encoded.shown(number), site, row)} for site in sites]
        for row, number in enumerate(questions)
    ]


def _within(shown: tuple[tuple[int, int], int] | None, site: Kept, row: int) -> dict[str, Any]:
    """Places and sizes of one prompt's tokens in the part of the picture that is shown."""
    assert shown is not None
    (rows, columns), start = shown
    origin, size = site.origin_br[row].tolist(), site.size_br[row].tolist()
    inside = [
        (place - start, round(each, 2))
        for place, each in zip(origin, size, strict=True)
        if 0 <= place - start < rows * columns
    ]
    return {"origin": [place for place, _ in inside], "size": [each for _, each in inside]}
