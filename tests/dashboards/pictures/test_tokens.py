"""Large pictures of kept tokens: the original as it is, the others with what went in the dark."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from eos_platform.dashboards.pictures.tokens import WIDTH, Cell, tokens_figure


def uri(picture):
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def pixels(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"), dtype=int)


def test_rows_of_cells():
    picture = {"png": uri(Image.new("RGB", (40, 40), (200, 200, 200))), "grid": [2, 2]}
    kept = Cell(picture, "<b>kept</b>", "one token, right", [3], [1.0])
    figure = tokens_figure([[Cell(picture, "original"), kept], [None, kept]], "a <title>", "under it")
    original, first, second = figure.layout.images
    assert original.source == picture["png"]
    assert first.x == second.x == pytest.approx(original.x + original.sizex + 16)
    assert second.y > first.y + first.sizey
    assert second.x + second.sizex == pytest.approx(WIDTH - 2 * 26)
    shown = pixels(first.source)
    side = len(shown) // 2
    assert shown[side:, side:].min() > 190  # it stayed, and stands for itself
    assert shown[:side].max() < 80  # these went
    words = [one.text for one in figure.layout.annotations]
    assert words.count("<b>kept</b>") == 2
    assert "<b>a &lt;title&gt;</b>" in words
