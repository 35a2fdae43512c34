"""Which tokens stored operators keep, worked out on the bundled model and drawn large beside the original."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from PIL import Image

from eos_platform.analysis.comparison.overlays import verdict
from eos_platform.analysis.comparison.pictures import about_one, chosen, example, kept_on
from eos_platform.analysis.explain.explain import ASKED, SHOWN_ON, answered
from eos_platform.common import strict_json
from eos_platform.costs.match import match
from eos_platform.dashboards.pictures.tokens import Cell, tokens_figure
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions

RATIOS, DESIGNS = (0.33, 0.15, 0.05), ("tome", "fastv")
MODEL = "bundled"


def stored_figure(operators: Path, points: pd.DataFrame) -> go.Figure:
    """A row a ratio: the original, the searched operator, and designs with the hyperparameters they were tuned to."""
    workload = load_workload(MODEL)
    encoded = workload.encoded("heldout", SHOWN_ON)
    question = chosen(encoded, 1)[0]
    picture = _large(encoded, question)
    rows: list[list[Cell | None]] = []
    for ratio in RATIOS:
        original = Cell(picture, "<b>original</b>", f"“{picture['text']}” ({picture['answer']})")
        cells: list[Cell | None] = [original]
        for name, operator in _operators(workload, operators, points, ratio):
            cells.append(_cell(workload, operator, encoded, question, f"<b>{name}</b>, {100 * ratio:.0f} %", picture))
        rows.append(cells)
    return tokens_figure(
        rows,
        "Tokens kept at three compute ratios",
        "a searched operator and two designs, tuned; dark: dropped",
    )


def asked_figure(file: Path) -> go.Figure:
    """One operator, one picture, several questions."""
    workload, operator = load_workload(MODEL), OperatorSpec.load(file)
    encoded = workload.encoded("heldout", SHOWN_ON)
    cells = []
    for number in about_one(encoded, ASKED):
        picture = _large(encoded, number)
        cells.append(_cell(workload, operator, encoded, number, f"<b>{picture['text']}</b>", picture, answer=True))
    original = Cell(picture, "<b>original</b>", f"{operator.target.tokens} visual tokens")
    sheet: list[Cell | None] = [original, *cells]
    left = f"one operator at 5 % of the compute: {operator.tokens_left} of {operator.target.tokens} tokens kept"
    return tokens_figure([sheet[:3], sheet[3:]], "The question decides which tokens are kept", left)


def _operators(
    workload: Subject, operators: Path, points: pd.DataFrame, ratio: float
) -> Iterator[tuple[str, OperatorSpec]]:
    yield "searched", OperatorSpec.load(operators / f"bundled-{ratio:.2f}.json")
    for design in DESIGNS:
        mine = (points["design"] == design) & (points["variant"] == "tuned") & (points["ratio"] == ratio)
        knobs: dict[str, Any] = strict_json.loads(points.loc[mine, "knobs"].iloc[0], str(operators))
        yield design, match(design, ratio, workload.target, workload.shape, workload.text_tokens, **knobs)


def _cell(
    workload: Subject,
    operator: OperatorSpec,
    encoded: EncodedQuestions,
    number: int,
    above: str,
    picture: Mapping[str, Any],
    *,
    answer: bool = False,
) -> Cell:
    (sites,) = kept_on(workload, operator, encoded.encoded_with(operator), [number])
    (worth,) = answered(workload, operator, encoded, [number])
    last = sites[-1]
    below = f"{picture['answer']}: " if answer else f"{len(last['origin'])} tokens, answer "
    return Cell(picture, above, below + verdict(worth), last["origin"], last["size"])


def _large(encoded: EncodedQuestions, number: int) -> dict[str, Any]:
    """The example with its picture as large as it was drawn."""
    return {**example(encoded, number), "png": _uri(encoded.example(number).opened())}


def _uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
