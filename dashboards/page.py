"""Several figures on one page that needs no network: plotly's own code is written into it once."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from eos_platform.dashboards.palette import GRID, INK, MUTED, PAPER

STYLE = f"""
body {{ margin: 0 auto; padding: 24px 28px 60px; max-width: 1500px; background: {PAPER}; color: {INK};
  font-family: Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }}
h1 {{ font-size: 26px; margin: 0 0 6px; }}
p {{ color: {MUTED}; margin: 0 0 10px; max-width: 1000px; line-height: 1.45; }}
section {{ border-top: 1px solid {GRID}; padding-top: 14px; margin-top: 14px; overflow-x: auto; }}
"""


def page(title: str, lead: str, figures: Sequence[go.Figure]) -> str:
    """The HTML.

    Args:
        title: of the page.
        lead: under it, plain text, a paragraph a line.
        figures: from top to bottom; one wider than the window scrolls sideways by itself.
    """
    parts = []
    for number, figure in enumerate(figures):
        inner = figure.to_html(
            full_html=False,
            include_plotlyjs=number == 0,
            config={"displaylogo": False, "responsive": True},
            div_id=f"figure-{number}",
        )
        parts.append(f"<section>{inner}</section>")
    paragraphs = "\n".join(f"<p>{escape(line)}</p>" for line in lead.splitlines())
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{paragraphs}\n" + "\n".join(parts) + "\n</body></html>\n"
    )
