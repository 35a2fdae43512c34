"""A result as a notebook shows it: a line, a table of sites, and a small picture that needs no script."""

from __future__ import annotations

from html import escape

from eos_platform.analysis.explain.describe import place_words, site_words
from eos_platform.dashboards.palette import GRID, INK, MUTED, SEARCHED, UNTOUCHED
from eos_platform.operators.spec import OperatorSpec

WIDTH, HEIGHT, FOOT = 460, 120, 18  # of the picture, pixels


def result_html(reported: str, operator: OperatorSpec) -> str:
    """The line, the table, the picture."""
    head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("site", "tokens", "regime", "what it does"))
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(place_words(site))}</td><td>{arriving} → {site.keep}</td>"
        f"<td>{escape(regime)}</td><td style='text-align:left'>{escape('; '.join(site_words(operator, number)[:2]))}"
        "</td></tr>"
        for number, (site, arriving, regime) in enumerate(
            zip(operator.sites, operator.incoming, operator.regimes, strict=True)
        )
    )
    title = f"<b>{escape(operator.name)}</b>: {escape(reported)}"
    return f"<div>{title}<table><tr>{head}</tr>{rows}</table>{tokens_svg(operator)}</div>"


def tokens_svg(operator: OperatorSpec) -> str:
    """Visual tokens entering each decoder layer, as bars in the colour of what is searched from the first site on."""
    counts, most = operator.counts, max(operator.target.tokens, 1)
    wide = WIDTH / len(counts)
    begins = 0 if operator.image or operator.tower_sites else min((site.layer for site in operator.sites), default=None)
    bars = []
    for layer, count in enumerate(counts):
        colour = UNTOUCHED if begins is None or layer < begins else SEARCHED
        high = (HEIGHT - FOOT) * count / most
        bars.append(
            f'<rect x="{layer * wide:.1f}" y="{HEIGHT - FOOT - high:.1f}" width="{max(wide - 1, 0.5):.1f}"'
            f' height="{high:.1f}" fill="{colour}"><title>layer {layer}: {count} of {most} tokens</title></rect>'
        )
    base = HEIGHT - FOOT
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="visual tokens by decoder layer">'
        f'<line x1="0" y1="0.5" x2="{WIDTH}" y2="0.5" stroke="{GRID}"/>'
        f'<text x="{WIDTH - 2}" y="13" font-size="11" text-anchor="end" fill="{MUTED}">{most} visual tokens</text>'
        f'{"".join(bars)}<line x1="0" y1="{base}" x2="{WIDTH}" y2="{base}" stroke="{INK}"/>'
        f'<text x="0" y="{HEIGHT - 4}" font-size="11" fill="{MUTED}">decoder layers 0 to {len(counts) - 1}</text></svg>'
    )
