"""Example pictures, and which tokens an operator keeps on them: data enough to draw both without the model."""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from PIL import Image

from eos_platform.models.relaxation.trace import kept_of
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.encode import Encoded
from eos_platform.tasks.render import render
from eos_platform.tasks.scenes import make_scene
from eos_platform.tasks.workload import Workload

PIXELS_A_TOKEN = 8  # enough to recognise what is under a token
COLOURS = 64


def chosen(encoded: Encoded, count: int) -> list[int]:
    """Question numbers to show, each about another picture and of another skill where there are as many."""
    found: list[int] = []
    pictures: set[int] = set()
    skills: set[str] = set()
    about = encoded.picture_q.tolist()
    for new_skill in (True, False):
        for number, (picture, skill) in enumerate(zip(about, encoded.skills, strict=True)):
            if len(found) < count and picture not in pictures and not (new_skill and skill in skills):
                found.append(number)
                pictures.add(picture)
                skills.add(skill)
    return sorted(found)


def about_one(encoded: Encoded, count: int) -> list[int]:
    """Numbers of questions about one picture, the first of those asked most: spread over them, at most ``count``."""
    about: dict[int, list[int]] = {}
    for number, picture in enumerate(encoded.picture_q.tolist()):
        about.setdefault(picture, []).append(number)
    numbers = max(about.values(), key=len)
    count = min(count, len(numbers))
    return [numbers[place * (len(numbers) - 1) // max(1, count - 1)] for place in range(count)]


def examples(workload: Workload, encoded: Encoded, count: int) -> list[dict[str, Any]]:
    """The pictures with their questions, as plain data."""
    return [example(workload, encoded, number) for number in chosen(encoded, count)]


def example(workload: Workload, encoded: Encoded, number: int) -> dict[str, Any]:
    """A held-out picture with one of its questions, as plain data."""
    question = encoded.questions[number]
    pixels = render(make_scene("heldout", int(encoded.picture_q[number]), workload.config))
    return {
        "question": number,
        "skill": question.skill,
        "text": question.text,
        "answer": question.answer,
        "grid": list(workload.target.grid),
        "png": png_uri(Image.fromarray(pixels), workload.target.grid),
    }


def png_uri(picture: Image.Image, grid: tuple[int, int]) -> str:
    """A small PNG as a data URI."""
    small = picture.resize((grid[1] * PIXELS_A_TOKEN, grid[0] * PIXELS_A_TOKEN), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.quantize(COLOURS).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


@torch.no_grad()
def kept_on(
    workload: Workload, operator: OperatorSpec, encoded: Encoded, questions: list[int]
) -> list[list[dict[str, Any]]]:
    """For each question, one mapping a site: where it stands, the raster places present after it, and their sizes.

    Args:
        encoded: questions as the operator's vision tower sees them.
    """
    if not questions:
        return []
    batch = encoded.batch(torch.tensor(questions, device=encoded.text_qt.device))
    sites = kept_of(workload.model, operator, batch.prefill)
    return [
        [
            {
                "place": site.place,
                "layer": site.layer,
                "origin": site.origin_br[row].tolist(),
                "size": [round(size, 2) for size in site.size_br[row].tolist()],
            }
            for site in sites
        ]
        for row in range(len(questions))
    ]
