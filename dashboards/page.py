"""Several figures on one page that needs no network: plotly's own code is written into it once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape, unescape

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import CONFIG, GRID, INK, MUTED, PAPER
from eos_platform.printable import LABEL, printable

STYLE = f"""
body {{ margin: 0 auto; padding: 24px 28px 60px; max-width: 1500px; background: {PAPER}; color: {INK};
  font-family: Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }}
h1 {{ font-size: 26px; margin: 0 0 6px; }}
p {{ color: {MUTED}; margin: 0 0 10px; max-width: 1000px; line-height: 1.45; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 16px 5px 0; border-bottom: 1px solid {GRID}; }}
th:first-child, td:first-child {{ text-align: left; }}
@media (max-width: 820px) {{ .plotly-graph-div {{ min-width: 720px; }} }}
@media print {{ section {{ break-inside: avoid; }} }}
section {{ border-top: 1px solid {GRID}; padding-top: 14px; margin-top: 14px; overflow-x: auto; }}
"""


def _title(figure: go.Figure) -> str:
    """In plain words; ``meta`` has it where it is drawn as a note."""
    return unescape(re.sub("<[^>]+>", "", figure.layout.title.text or "")) or str(figure.layout.meta or "")


def _shown(cell: object) -> object:
    return printable(cell, LABEL) if isinstance(cell, str) else cell


def alone(figure: go.Figure) -> str:
    """One figure as a page: plotly's code is in it, since from elsewhere it would be blank without internet."""
    html: str = figure.to_html(include_plotlyjs=True, config=CONFIG)
    return html


def page(title: str, lead: str, figures: Sequence[go.Figure], table: pd.DataFrame | None = None) -> str:
    """The HTML.

    Args:
        title: of the page.
        lead: under it, plain text, a paragraph a line.
        figures: from top to bottom; one wider than the window scrolls sideways by itself.
        table: after the first figure, for those who read better than they see.
    """
    parts = []
    for number, figure in enumerate(figures):
        inner = figure.to_html(
            full_html=False,
            include_plotlyjs=number == 0,
            config=CONFIG,
            div_id=f"figure-{number}",
        )
        label = escape(_title(figure) or f"Figure {number + 1}")
        parts.append(f'<section aria-label="{label}">{inner}</section>')
        if number == 0 and table is not None and len(table):
            parts.append(f"<section>{table.map(_shown).to_html(index=False, border=0, na_rep='')}</section>")
    paragraphs = "\n".join(f"<p>{escape(printable(line))}</p>" for line in lead.splitlines())
    title = printable(title, LABEL)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{paragraphs}\n" + "\n".join(parts) + "\n</body></html>\n"
    )
