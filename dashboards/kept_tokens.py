"""Which visual tokens operators keep, laid over the picture: an operator a column, a compute ratio a row.

``kept`` has one row for every (operator, ratio, picture): ``column`` (the operator's name over its column), ``ratio``
(0: rows need none), ``picture`` (a number into ``pictures``), ``origin`` and ``size`` (lists: raster places of the
tokens that are there at the end, and how many original tokens each stands for), and, where known, ``caption`` (a line
under the cell). Each of ``pictures`` is a mapping: ``png`` (a data URI), ``grid`` (rows, columns of tokens), ``text``,
``answer``.
Dropped tokens are dark; kept ones show the picture, the warmer the more tokens they represent. The first column is the
original picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from eos_platform.dashboards.palette import GRID, INK, MUTED, theme
from eos_platform.dashboards.skills import menu
from eos_platform.dashboards.text import escape

CELL, LARGE = 190, 250  # pixels of a cell with its gap: at least, at most
TOP, LEFT = 206, 74  # pixels above the first row, left of the first column
SHEET = 1270  # pixels of a page, which cells fill as far as they may
ORIGINAL = "original"
GAP = 0.16  # of a cell, where captions are
LARGEST = 5.0  # log2 of the size at which colours end
GONE = -1.0
# from "went" (dark) over "as it was" (clear) to "stands for many"
SCALE = [
    [0.0, "rgba(16,18,22,0.78)"],
    [0.9 / (LARGEST + 1), "rgba(16,18,22,0.78)"],
    [0.9 / (LARGEST + 1), "rgba(255,224,102,0.0)"],
    [1.02 / (LARGEST + 1), "rgba(255,224,102,0.0)"],
    [1.5 / (LARGEST + 1), "rgba(255,224,102,0.40)"],
    [3.0 / (LARGEST + 1), "rgba(255,127,14,0.55)"],
    [1.0, "rgba(214,20,60,0.72)"],
]


def kept_figure(
    kept: pd.DataFrame, pictures: Sequence[Mapping[str, Any]], title: str = "Tokens kept at the end"
) -> go.Figure:
    """The overlays; a menu chooses the picture."""
    columns = [ORIGINAL, *dict.fromkeys(kept["column"])] if len(kept) else []
    ratios = sorted(kept["ratio"].dropna().unique(), reverse=True) if len(kept) else []
    figure = go.Figure()
    figure.update_layout(theme(escape(title)))
    if not columns or not len(pictures):
        figure.add_annotation(
            text="No picture measured yet", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=18
        )
        return figure
    cells = {(row["picture"], row["ratio"], row["column"]): row for row in kept.to_dict("records")}
    sheets = []
    for number, picture in enumerate(pictures):
        figure.add_trace(_tokens(cells, number, picture, ratios, columns, visible=number == 0))
        images = _strips(cells, number, picture, ratios, columns)
        notes = [_heading(title, picture), *_notes(cells, number, picture, ratios, columns)]
        sheets.append((images, notes))
    rows, across = pictures[0]["grid"]
    cell, width = _cell(columns), _width(columns)
    height = TOP + round(cell * (1 + GAP)) * len(ratios) + 30
    figure.update_layout(
        title_text="",  # a note, since plotly moves a title that it thinks in the way of something
        meta=title,
        images=sheets[0][0],
        annotations=sheets[0][1],
        width=LEFT + width + 30,
        height=height,
        margin={"l": LEFT, "r": 30, "t": TOP, "b": 30, "autoexpand": False},
        plot_bgcolor="white",
    )
    hidden = {"showgrid": False, "showline": False, "ticks": "", "showticklabels": False, "title_text": ""}
    figure.update_xaxes(range=[-0.5, width / cell * _step(across) - 0.5], **hidden)
    figure.update_yaxes(range=[len(ratios) * _step(rows, GAP) - 0.5, -0.5], **hidden)
    if len(pictures) > 1:
        figure.update_layout(
            updatemenus=[
                menu(
                    [
                        {
                            "label": f"picture {number + 1}",
                            "method": "update",
                            "args": [
                                {"visible": [other == number for other in range(len(pictures))]},
                                {"images": images, "annotations": notes},
                            ],
                        }
                        for number, (picture, (images, notes)) in enumerate(zip(pictures, sheets, strict=True))
                    ],
                    x=0.0,
                )
                | {"xanchor": "left", "pad": {"b": 54}}
            ]
        )
    return figure


def _step(cells: int, gap: float = 0.06) -> int:
    """From one cell's first token to the next one's."""
    return cells + max(1, round(gap * cells))


def _width(columns: Sequence[str]) -> int:
    """Of the cells in pixels; never so narrow that the heading is cut."""
    return max(_cell(columns) * len(columns), 760)


def _cell(columns: Sequence[str]) -> int:
    return max(CELL, min(LARGE, SHEET // len(columns)))


def _heading(title: str, picture: Mapping[str, Any]) -> dict[str, Any]:
    question = escape(f"{picture['text']} ({picture['answer']})")
    return {
        "text": f"<b>{escape(title)}</b><br><span style='font-size:14px;color:{MUTED}'>{question}</span>",
        "font": {"size": 21, "color": INK},
        "align": "left",
        "showarrow": False,
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "yref": "paper",
        "y": 1,
        "yanchor": "top",
        "yshift": TOP - 34,
    }


def _tokens(
    cells: Mapping[Any, Any],
    number: int,
    picture: Mapping[str, Any],
    ratios: Sequence[float],
    columns: Sequence[str],
    *,
    visible: bool,
) -> go.Heatmap:
    rows, across = picture["grid"]
    down, right = _step(rows, GAP), _step(across)
    z = np.full((len(ratios) * down, len(columns) * right), np.nan, dtype=np.float32)
    for at, ratio in enumerate(ratios):
        for place, column in enumerate(columns):
            row = cells.get((number, ratio, column))
            if row is not None:
                top, left = at * down, place * right
                z[top : top + rows, left : left + across] = token_values(row["origin"], row["size"], (rows, across))
    return go.Heatmap(
        z=z,
        zmin=GONE,
        zmax=LARGEST,
        colorscale=SCALE,
        hoverongaps=False,
        customdata=np.where(z >= 0, np.round(np.exp2(z), 1), 0).astype(np.float32),
        hovertemplate="represents %{customdata} tokens<extra></extra>",
        visible=visible,
        colorbar={
            "tickvals": [GONE + 0.45, 0.0, 1.0, 2.0, 3.0, 4.0, LARGEST],
            "ticktext": ["dropped", "1", "2", "4", "8", "16", f"{2**LARGEST:.0f}+"],
            "title": {"text": "tokens represented", "font": {"size": 12}, "side": "top"},
            "tickangle": 0,
            "orientation": "h",
            "thickness": 12,
            "lenmode": "pixels",
            "len": 420,
            "x": 130 / _width(columns),
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "ypad": 52,
            "outlinecolor": GRID,
        },
    )


def token_values(origin: Sequence[int], size: Sequence[float], grid: tuple[int, int]) -> NDArray[np.float32]:
    """log2 of what the token at each place stands for (rows, columns); -1 where it went."""
    values_n = np.full(grid[0] * grid[1], GONE, dtype=np.float32)
    sizes = np.asarray(size, dtype=float)
    values_n[np.asarray(origin, dtype=int)] = np.clip(np.log2(np.maximum(sizes, 1.0)), 0.0, LARGEST)
    return values_n.reshape(grid)


def _strips(
    cells: Mapping[Any, Any], number: int, picture: Mapping[str, Any], ratios: Sequence[float], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The picture under every cell, one image a row: the same picture again and again compresses to almost nothing."""
    rows, across = picture["grid"]
    small = Image.open(io.BytesIO(base64.b64decode(picture["png"].partition(",")[2]))).convert("RGB")
    right, scale = _step(across), small.width / across
    strips = []
    for at, ratio in enumerate(ratios):
        strip = Image.new("RGB", (round(right * len(columns) * scale), small.height), "white")
        for place, column in enumerate(columns):
            if column == ORIGINAL or (number, ratio, column) in cells:
                strip.paste(small, (round(place * right * scale), 0))
        stream = io.BytesIO()
        strip.quantize(128).save(stream, "PNG", optimize=True)
        strips.append(
            {
                "source": "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode(),
                "xref": "x",
                "yref": "y",
                "x": -0.5,
                "y": at * _step(rows, GAP) - 0.5,
                "sizex": len(columns) * right,
                "sizey": rows,
                "sizing": "stretch",
                "layer": "below",
            }
        )
    return strips


def _notes(
    cells: Mapping[Any, Any], number: int, picture: Mapping[str, Any], ratios: Sequence[float], columns: Sequence[str]
) -> list[dict[str, Any]]:
    rows, across = picture["grid"]
    down, right = _step(rows, GAP), _step(across)
    plain = {"showarrow": False, "xref": "x", "yref": "y"}
    notes: list[dict[str, Any]] = []
    for place, column in enumerate(columns):
        text = escape(column).replace(", ", "<br>")
        at = {"x": place * right + across / 2 - 0.5, "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 4}
        notes.append({**plain, **at, "text": f"<b>{text}</b>", "font": {"size": 13, "color": INK}})
    for at_row, ratio in enumerate(ratios):
        at = {"xref": "paper", "x": 0, "xanchor": "right", "xshift": -10, "y": at_row * down + rows / 2 - 0.5}
        notes.append({**plain, **at, "text": f"<b>{ratio:g}</b>" if ratio else "", "font": {"size": 15, "color": INK}})
        for place, column in enumerate(columns):
            row = cells.get((number, ratio, column))
            middle = {"x": place * right + across / 2 - 0.5}
            if column == ORIGINAL:
                row = {"caption": f"{rows * across} tokens"}
            if row is None:
                at = {**middle, "y": at_row * down + rows / 2 - 0.5}
                notes.append({**plain, **at, "text": "no result", "font": {"size": 11, "color": MUTED}})
            elif isinstance(row.get("caption"), str):
                at = {**middle, "y": at_row * down + rows - 0.4, "yanchor": "top"}
                notes.append({**plain, **at, "text": escape(row["caption"]), "font": {"size": 11, "color": MUTED}})
    return notes


def overlay_png(picture: Mapping[str, Any], origin: Sequence[int], size: Sequence[float], scale: int = 2) -> str:
    """One picture with its tokens laid over it, in the colours of the figure, as a data URI."""
    small = Image.open(io.BytesIO(base64.b64decode(picture["png"].partition(",")[2]))).convert("RGB")
    rows, across = picture["grid"]
    values = token_values(origin, size, (rows, across))
    places = (values - GONE) / (LARGEST - GONE)
    stops = [place for place, _ in SCALE]
    shades = np.array([_shade(str(colour)) for _, colour in SCALE])
    # of two equal stops the later counts from there on: np.interp would take either
    spread = np.array(stops) + np.arange(len(stops)) * 1e-9
    tint = np.stack([np.interp(places, spread, shades[:, channel]) for channel in range(4)], axis=-1)
    cell = (small.width // across, small.height // rows)
    whole = np.kron(tint, np.ones((cell[1], cell[0], 1)))
    pixels = np.asarray(small.resize((across * cell[0], rows * cell[1])), dtype=float)
    mixed = pixels * (1 - whole[..., 3:]) + whole[..., :3] * whole[..., 3:]
    shown = Image.fromarray(mixed.round().astype(np.uint8))
    shown = shown.resize((shown.width * scale, shown.height * scale), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    shown.quantize(128).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _shade(colour: str) -> list[float]:
    return [float(part) for part in colour.removeprefix("rgba(").rstrip(")").split(",")]
