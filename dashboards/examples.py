"""Example questions of a task: the picture, what an operator keeps of it, the answer given, and whether it is right.

Rows are those of ``kept_figure``, with ``given`` (the answer; None: not asked) and ``worth`` (of it, 0 to 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from eos_platform.common.printable import LABEL, printable
from eos_platform.dashboards.kept_tokens import overlay_png
from eos_platform.dashboards.text import records

RIGHT, WRONG = "right", "wrong"


def answer_words(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """The answer given, and what is thought of it; None where it was not asked."""
    given, worth = row.get("given"), row.get("worth")
    if not isinstance(given, str) or worth is None or pd.isna(worth):
        return None
    judged = RIGHT if worth >= 1 else WRONG if worth <= 0 else f"worth {worth:.2f}"
    return printable(given, LABEL) or "(nothing)", judged


def question_words(picture: Mapping[str, Any]) -> str:
    """The question, and the right answer."""
    return f"{printable(picture['text'], LABEL)} (answer: {printable(picture['answer'], LABEL)})"


def examples_html(rows: pd.DataFrame, pictures: Sequence[Mapping[str, Any]]) -> str:
    """A part of a page: a row a picture, first as it is, then as each operator sees it with its answer."""
    parts = []
    for place, picture in enumerate(pictures):
        cells = [_cell(str(picture["png"]), f"Picture {place + 1}", "original", "")]
        for row in records(rows[rows["picture"] == place]):
            told = answer_words(row)
            name, caption = printable(str(row["column"]), LABEL), str(row["caption"])
            words = f"answers <q>{escape(told[0])}</q>: <b class='{told[1].split()[0]}'>{told[1]}</b>" if told else ""
            image = overlay_png(picture, row["origin"], row["size"], scale=3)
            cells.append(_cell(image, f"Picture {place + 1} as {name} sees it", f"{name}, {caption}", words))
        heading = f"<h3>{escape(question_words(picture))}</h3>"
        parts.append(f"<div class='example'>{heading}<div class='cells'>{''.join(cells)}</div></div>")
    return "".join(parts)


def _cell(image: str, alt: str, caption: str, words: str) -> str:
    return (
        f"<figure><img src='{escape(image, quote=True)}' alt='{escape(alt, quote=True)}'>"
        f"<figcaption>{escape(caption)}{'<br>' if words else ''}{words}</figcaption></figure>"
    )
