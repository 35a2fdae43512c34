"""Several figures on one page that needs no network: plotly's own code is written into it once."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape, unescape

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from eos_platform.common import strict_json
from eos_platform.common.printable import LABEL, printable
from eos_platform.dashboards.palette import CONFIG, GRID, INK, MUTED, PAPER

STYLE = f"""
body {{ margin: 0 auto; padding: 24px 28px 60px; max-width: 1500px; background: {PAPER}; color: {INK};
  font-family: Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }}
h1 {{ font-size: 26px; margin: 0 0 6px; }}
h2 {{ font-size: 18px; margin: 0 0 8px; }}
h3 {{ font-size: 15px; margin: 14px 0 6px; }}
.row {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(360px, 1fr)); gap: 16px; }}
.cells {{ display: flex; flex-wrap: wrap; gap: 16px; }}
.cells figure {{ margin: 0; width: 288px; }}
.cells img {{ width: 288px; image-rendering: pixelated; border-radius: 4px; display: block; }}
figcaption {{ font-size: 13px; color: {MUTED}; padding-top: 4px; }}
b.right {{ color: #007a5a; }} b.wrong {{ color: #b34700; }}
nav ol {{ columns: 3 240px; padding-left: 22px; line-height: 1.6; }}
a {{ color: #00609a; }}
p {{ color: {MUTED}; margin: 0 0 10px; max-width: 1000px; line-height: 1.45; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 16px 5px 0; border-bottom: 1px solid {GRID}; }}
th:first-child, td:first-child {{ text-align: left; }}
@media (max-width: 820px) {{ body {{ padding: 16px; }} .plotly-graph-div {{ min-width: 720px; }}
  .row {{ grid-template-columns: 1fr; }} .row .plotly-graph-div {{ min-width: 400px; }} }}
@media print {{ section {{ break-inside: avoid; }} }}
section {{ border-top: 1px solid {GRID}; padding-top: 14px; margin-top: 14px; overflow-x: auto; }}
"""


def _title(figure: go.Figure) -> str:
    """In plain words; ``meta`` has it where it is drawn as a note."""
    return unescape(re.sub("<[^>]+>", "", figure.layout.title.text or "")) or str(figure.layout.meta or "")


def _shown(cell: object) -> object:
    return printable(cell, LABEL) if isinstance(cell, str) else cell


@lru_cache(maxsize=1)
def _code() -> str:
    """Plotly's code packed, 1.8 MB instead of 4.6; the page unpacks it, which every browser since 2023 can."""
    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
    return f"""<script type="application/octet-stream" id="plotly-packed">{packed}</script>
<script>
window.eosPlotly = (async function () {{
  const text = document.getElementById("plotly-packed").textContent;
  const bytes = Uint8Array.from(atob(text), function (one) {{ return one.charCodeAt(0); }});
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  (0, eval)(await new Response(stream).text());
}})();
</script>"""


def _drawn(figure: go.Figure, name: str) -> str:
    """A place for the figure and what draws it there as soon as plotly's code is unpacked."""
    plain = figure.to_json().replace("</", "<\\/")
    config = strict_json.dumps(CONFIG)
    height = figure.layout.height or 560
    return (
        f'<div id="{name}" class="plotly-graph-div" style="height:{height}px"></div>\n<script>'
        f"window.eosPlotly.then(function () {{ const made = {plain};"
        f' Plotly.newPlot("{name}", made.data, made.layout, {config}); }});</script>'
    )


def alone(figure: go.Figure) -> str:
    """One figure as a page: plotly's code is in it, since from elsewhere it would be blank without internet."""
    title = escape(_title(figure) or "Figure")
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>body {{ margin: 0; background: {PAPER}; }} main {{ overflow-x: auto; }}"
        " .plotly-graph-div { min-width: 720px; }</style></head>\n"
        f'<body><main aria-label="{title}">{_code()}\n{_drawn(figure, "figure")}</main></body></html>\n'
    )


def page(
    title: str,
    lead: str,
    figures: Sequence[go.Figure | Sequence[go.Figure]],
    table: pd.DataFrame | None = None,
    more: Mapping[str, pd.DataFrame] | None = None,
    parts: Mapping[str, str] | None = None,
) -> str:
    """The HTML.

    Args:
        title: of the page.
        lead: under it, plain text, a paragraph a line.
        figures: from top to bottom, several in a list side by side; one wider than the window scrolls by itself.
        table: after the first figure, for those who read better than they see.
        more: further tables after it, by their headings.
        parts: HTML of what is neither, after the tables, by heading.
    """
    body = [_code()]
    places: dict[str, str] = {}
    for number, figure in enumerate(figures):
        row = [figure] if isinstance(figure, go.Figure) else list(figure)
        inner = "".join(_drawn(one, f"figure-{number}-{place}") for place, one in enumerate(row))
        label = escape(", ".join(filter(None, map(_title, row))) or f"Figure {number + 1}")
        places[f"part-{number}"] = label
        inner = f'<div class="row">{inner}</div>' if len(row) > 1 else inner
        body.append(f'<section id="part-{number}" aria-label="{label}">{inner}</section>')
        if number == 0:
            tables = {"Operators on the front": table, **(more or {})}
            for place, (heading, rows) in enumerate(tables.items()):
                if rows is not None and len(rows):
                    places[f"table-{place}"] = escape(heading)
                    body.append(_table(f"table-{place}", heading, rows))
            for place, (heading, text) in enumerate((parts or {}).items()):
                label = escape(heading)
                places[f"more-{place}"] = label
                body.append(f'<section id="more-{place}" aria-label="{label}"><h2>{label}</h2>{text}</section>')
    contents = "".join(f'<li><a href="#{place}">{label}</a></li>' for place, label in places.items())
    contents = f'<nav aria-label="Contents"><ol>{contents}</ol></nav>' if len(places) > 2 else ""
    paragraphs = "\n".join(f"<p>{escape(printable(line))}</p>" for line in lead.splitlines())
    title = printable(title, LABEL)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><header><h1>{escape(title)}</h1>{paragraphs}{contents}</header>\n<main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _table(place: str, heading: str, rows: pd.DataFrame) -> str:
    inner = rows.map(_shown).to_html(index=False, border=0, na_rep="")
    words = [number for number, name in enumerate(rows.columns, 1) if number > 1 and _of_words(rows[name])]
    if words:
        cells = ", ".join(f"#{place} :is(th, td):nth-child({number})" for number in words)
        inner = f"<style>{cells} {{ text-align: left; }}</style>{inner}"
    return (
        f'<section id="{place}" aria-label="{escape(heading)}" tabindex="0"><h2>{escape(heading)}</h2>{inner}</section>'
    )


def _of_words(column: pd.Series) -> bool:
    """Whether a column has words, which stand at the left; one of numbers alone stands at the right."""
    given = column.dropna()
    given = given[given != ""]
    return bool(pd.to_numeric(given, errors="coerce").isna().any())
