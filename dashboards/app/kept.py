"""Example questions on the pages: the picture, what an operator keeps of it, and what the model answers with it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import html

from eos_platform.dashboards.examples import answer_words, question_words
from eos_platform.dashboards.kept_tokens import overlay_png
from eos_platform.dashboards.text import records

UNASKED = "No answers: only the operators in the final comparison, at the end of a study, are asked these questions."
WAIT = 800  # milliseconds between looks at an overlay that is being worked out


def kept_part(rows: pd.DataFrame, pictures: list[dict[str, Any]], why: dict[str, str]) -> tuple[Any, bool]:
    """The overlays, or a word of patience, or why there are none; and whether waiting is over."""
    if "working" in why.values():
        text = "Computing which tokens are kept on example pictures …"
        return html.P(text, className="note working", role="status"), False
    lacking = [
        html.P(f"Tokens kept by {name} on example pictures: {reason}", className="note") for name, reason in why.items()
    ]
    return html.Div([*([] if rows.empty else [kept_grid(rows, pictures)]), *lacking]), True


def kept_grid(rows: pd.DataFrame, pictures: list[dict[str, Any]]) -> html.Div:
    """A row a picture, a column an operator: images with words for those who cannot see them."""
    lines: list[Any] = []
    for place, picture in enumerate(pictures):
        cells = [
            html.Figure([html.Img(src=str(picture["png"]), alt=f"Picture {place + 1}"), html.Figcaption("original")])
        ]
        cells += [
            html.Figure(
                [
                    html.Img(
                        src=overlay_png(picture, row["origin"], row["size"]),
                        alt=f"Picture {place + 1} as {row['column']} sees it: {row['caption']} of "
                        f"{picture['grid'][0] * picture['grid'][1]}",
                    ),
                    html.Figcaption([html.Strong(row["column"]), f", {row['caption']}", *_answer(row)]),
                ]
            )
            for row in records(rows[rows["picture"] == place])
        ]
        question = html.P(question_words(picture))
        lines.append(html.Div([question, html.Div(cells, className="cells")], className="picture"))
    if rows["given"].isna().all():
        lines.append(html.P(UNASKED, className="note"))
    note = "Dark: dropped. Clear: kept. Yellow to red: kept, with others merged into it (red: 32 tokens or more)."
    return html.Div(
        [
            html.H3("Example questions: tokens kept after the last site, and the answers"),
            html.P(note, className="note"),
            html.Div(lines, className="pictures"),
        ],
        className="kept",
    )


def _answer(row: dict[str, Any]) -> list[Any]:
    """Its answer and whether it is right, where it was asked."""
    told = answer_words(row)
    if told is None:
        return []
    return [html.Br(), "answers ", html.Q(told[0]), ": ", html.B(told[1], className=told[1].split()[0])]
