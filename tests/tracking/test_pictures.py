"""The two small pictures of an operator, by their pixels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from eos_platform.dashboards.palette import SEARCHED, UNTOUCHED, colour_of
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking.pictures import CELL, GAP, HEAD, kept_png, sites_png

TARGET = Target(layers=4, grid=(4, 4))


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def coloured(image, colour=SEARCHED):
    """How many pixels have the colour."""
    return int((image == ImageColor.getrgb(colour)).all(-1).sum())


@pytest.mark.parametrize("layer", [0, 2])
def test_the_bars_have_the_operators_colour_from_its_first_site_on(layer):
    operator = OperatorSpec(target=TARGET, sites=(SiteSpec(layer=layer, keep=4, score={"norm": 1.0}),))
    image = pixels(sites_png(operator))
    assert coloured(image) > 1000
    assert (coloured(image, UNTOUCHED) > 1000) == (layer > 0)
    tome = colour_of("hand-designed", "tome")
    image = pixels(sites_png(operator, tome))
    assert coloured(image, tome) > 1000 > coloured(image)


def test_more_tokens_are_higher_bars():
    few, many = (
        pixels(sites_png(OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=keep, score={"norm": 1.0}),))))
        for keep in (2, 8)
    )
    assert coloured(many) == pytest.approx(4 * coloured(few), rel=0.05)


def test_no_site_is_no_trouble():
    assert coloured(pixels(sites_png(OperatorSpec(target=TARGET))), UNTOUCHED) > 1000


def test_dropped_tokens_are_dark_and_large_ones_warm():
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (0, 0, 255)).save(stream, "PNG")
    png = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    example = {"png": png, "grid": [2, 2], "text": "how many?", "answer": "two"}
    sites = [[{"origin": [0, 1, 2, 3], "size": [1, 1, 1, 1]}, {"origin": [0, 3], "size": [1, 16]}]]
    image = pixels(kept_png([example], sites, "s"))
    quarter = CELL // 4
    at = {
        (row, column): image[HEAD + quarter * (1 + 2 * row), GAP + quarter * (1 + 2 * column)]
        for row in (0, 1)
        for column in (0, 1)
    }
    assert at[0, 0] == pytest.approx([0, 0, 255], abs=12)  # as it was
    assert at[0, 1].max() < 80  # gone
    assert at[1, 1][0] > at[1, 1][2]  # red over blue
    assert pixels(kept_png([example], [[]], "no site"))[HEAD + quarter, GAP + quarter] == pytest.approx(
        [0, 0, 255], abs=12
    )
