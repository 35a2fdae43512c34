"""Two small PNGs of an operator for its run's page: its sites over the layers, and the tokens it keeps.

Drawn with Pillow in milliseconds, so that thousands of trials can have them; the dashboard draws the same with more
to read off.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eos_platform.dashboards.palette import GRID, INK, MUTED, SEARCHED, UNTOUCHED
from eos_platform.operators.spec import OperatorSpec

WIDTH, HEIGHT, LEFT, TOP, FOOT = 1000, 400, 76, 84, 62  # of the sites' picture, pixels
CELL, GAP, HEAD = 240, 18, 84  # of a picture of kept tokens
LARGEST = 16.0  # original tokens one stands for at which the colour ends


def sites_png(operator: OperatorSpec, colour: str = SEARCHED) -> bytes:
    """Visual tokens entering each decoder layer as bars, from the first site on in the operator's colour.

    Args:
        operator: whose sites they are.
        colour: as ``palette.colour_of`` says.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    head = f"{operator.regime}, {operator.mean_tokens:.1f} of {operator.target.tokens} visual tokens a layer on average"
    pen.text((LEFT, 14), operator.name, INK, _font(22))
    pen.text((LEFT, 46), head, MUTED, _font(16))
    floor, right = HEIGHT - FOOT, WIDTH - 24
    top = TOP + 24
    most = operator.target.tokens
    for share in (0.0, 0.5, 1.0):
        y = floor - share * (floor - top)
        pen.line((LEFT, y, right, y), fill=GRID)
        pen.text((LEFT - 10, y), f"{share * most:.0f}", MUTED, _font(14), anchor="rm")
    regimes = {site.layer: kind for site, kind in zip(operator.sites, operator.regimes, strict=True) if _acts(site)}
    touched, wide = operator.entering < most, (right - LEFT) / operator.target.layers
    for layer, tokens in enumerate(operator.counts):
        touched = touched or layer in regimes
        x = LEFT + layer * wide
        y = floor - tokens / most * (floor - top)
        pen.rectangle((x + 1, min(y, floor - 1), x + wide - 2, floor), fill=colour if touched else UNTOUCHED)
        if layer in regimes:
            pen.text((x + 2, y - 4), f"{tokens} {regimes[layer]}", INK, _font(14), anchor="lb")
        if layer % max(1, round(operator.target.layers / 16)) == 0:
            pen.text((x + wide / 2, floor + 8), str(layer), MUTED, _font(14), anchor="ma")
    pen.text(((LEFT + right) / 2, HEIGHT - 30), "decoder layer", INK, _font(15), anchor="ma")
    pen.text((LEFT - 10, TOP - 4), "tokens", INK, _font(15), anchor="rm")
    return _png(picture)  # flat colours: nothing to gain from a palette


def kept_png(examples: Sequence[Mapping[str, Any]], sites: Sequence[Sequence[Mapping[str, Any]]], title: str) -> bytes:
    """The example pictures: what was dropped is dark, what stayed the warmer the more tokens it stands for.

    Args:
        examples: each with ``png`` (a data URI), ``grid`` (rows, columns of tokens), ``text`` and ``answer``.
        sites: for each example, each site's ``origin`` (raster places) and ``size``.
    """
    picture = Image.new("RGB", (GAP + (CELL + GAP) * len(examples), HEAD + CELL + 58), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((GAP, 12), title, INK, _font(20))
    pen.text((GAP, 44), "kept at the end; dark: gone; yellow to red: stands for 2 to 16 or more", MUTED, _font(15))
    for number, (example, stages) in enumerate(zip(examples, sites, strict=False)):
        x = GAP + number * (CELL + GAP)
        picture.paste(_overlaid(example, stages[-1] if stages else None), (x, HEAD))
        left = len(stages[-1]["origin"]) if stages else example["grid"][0] * example["grid"][1]
        for line, text in enumerate((f"{left} tokens", f"{example['text']} ({example['answer']})")):
            pen.text((x, HEAD + CELL + 6 + 20 * line), _fit(text, _font(14)), (INK, MUTED)[line], _font(14))
    return _png(picture.quantize(96, Image.Quantize.FASTOCTREE))


def _overlaid(example: Mapping[str, Any], stage: Mapping[str, Any] | None) -> Image.Image:
    under = Image.open(io.BytesIO(base64.b64decode(example["png"].partition(",")[2]))).convert("RGB")
    under = under.resize((CELL, CELL), Image.Resampling.LANCZOS)
    if stage is None:
        return under
    rows, columns = example["grid"]
    tint = np.zeros((rows * columns, 4), np.uint8)
    tint[:] = (16, 18, 22, 205)
    sizes = np.asarray(stage["size"], float)
    warm = np.clip(np.log2(np.maximum(sizes, 1.0)) / np.log2(LARGEST), 0, 1)[:, None]
    yellow, red = np.array([255, 214, 70, 90]), np.array([214, 20, 60, 170])
    tint[np.asarray(stage["origin"], int)] = np.where(sizes[:, None] > 1.01, yellow + warm * (red - yellow), 0)
    over = Image.fromarray(tint.reshape(rows, columns, 4), "RGBA").resize((CELL, CELL), Image.Resampling.NEAREST)
    return Image.alpha_composite(under.convert("RGBA"), over).convert("RGB")


def _fit(text: str, font: Any) -> str:
    while font.getlength(text) > CELL and len(text) > 4:
        text = text[:-4].rstrip() + "..."
    return text


def _acts(site: Any) -> bool:
    return bool(site.place == "decoder")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=4)
    return stream.getvalue()
