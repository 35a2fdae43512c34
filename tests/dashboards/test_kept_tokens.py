"""Overlays and heat maps, by what their traces hold."""

import base64
import io
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eos_platform.dashboards.kept_tokens import GONE, LARGEST, kept_figure, overlay_png, token_values
from eos_platform.dashboards.page import alone, page
from eos_platform.dashboards.pareto import pareto_figure
from eos_platform.dashboards.skills import skills_figure

GRID = (4, 6)


def picture(colour, text="is there a <b>red</b> ring?"):
    stream = io.BytesIO()
    Image.new("RGB", (GRID[1] * 8, GRID[0] * 8), colour).save(stream, "PNG")
    png = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return {"png": png, "grid": list(GRID), "text": text, "answer": "yes"}


def row(column, ratio, number, origin, size=None):
    sizes = size or [1.0] * len(origin)
    return {"column": column, "ratio": ratio, "picture": number, "origin": origin, "size": sizes, "caption": "2 left"}


@pytest.fixture
def kept():
    return pd.DataFrame(
        [
            row("searched", 0.3, 0, [0, 7], [4.0, 100.0]),
            row("searched", 0.1, 0, [5]),
            row("fastv, tuned", 0.3, 0, [23]),
            row("searched", 0.3, 1, [1]),
        ]
    )


def test_tokens_are_where_they_were_and_as_large():
    values = token_values([0, 7, 8], [4.0, 100.0, 0.5], GRID)
    assert values[0, 0] == 2
    assert values[1, 1] == LARGEST
    assert values[1, 2] == 0
    assert np.sum(values == GONE) == 21


def test_cells_stand_by_operator_and_ratio(kept):
    figure = kept_figure(kept, [picture("red"), picture("blue")], "T")
    first, second = figure.data
    assert first.visible
    assert not second.visible
    z = np.asarray(first.z)
    assert np.isnan(z[:, :7]).all()  # the original, with nothing over it
    assert z[0, 7] == 2  # searched at .3
    assert z[3, 14 + 5] == 0  # fastv beside it, one token of gap between
    assert z[5 + 0, 7 + 5] == 0  # searched at .1 below
    assert np.isnan(z[5:, 14:]).all()  # fastv does not reach .1
    assert np.nansum(np.asarray(second.z) == 0) == 1
    texts = [note.text for note in figure.layout.annotations]
    assert "<b>searched</b>" in texts
    assert "<b>fastv<br>tuned</b>" in texts
    assert texts.count("no result") == 1
    assert texts.count("24 tokens") == texts.count("<b>original</b>") * 2 == 2
    assert texts.count("2 left") == 3
    assert "is there a &lt;b&gt;red&lt;/b&gt; ring? (yes)" in texts[0]
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.args[0]["visible"] for button in buttons] == [[True, False], [False, True]]


def test_the_picture_lies_under_its_cells_only(kept):
    figure = kept_figure(kept, [picture("red")], "T")
    upper, lower = figure.layout.images
    strips = [Image.open(io.BytesIO(base64.b64decode(part.source.partition(",")[2]))) for part in (upper, lower)]
    pixels = [np.asarray(strip.convert("RGB")) for strip in strips]
    assert pixels[0].shape == (32, 3 * 7 * 8, 3)
    for across in (24, 80, 136):  # original, searched, fastv
        assert pixels[0][16, across].tolist() == [255, 0, 0]
    assert pixels[0][16, 52].tolist() == pixels[0][16, 108].tolist() == [255, 255, 255]
    assert pixels[1][16, 24].tolist() == pixels[1][16, 80].tolist() == [255, 0, 0]
    assert pixels[1][16, 136].tolist() == [255, 255, 255]  # fastv does not reach .1
    assert (upper.sizex, upper.sizey) == (21, 4)
    assert lower.y == pytest.approx(4.5)
    assert not figure.layout.updatemenus


def test_nothing_to_show_says_so(kept):
    for figure in (kept_figure(kept.head(0), [picture("red")]), kept_figure(kept, []), skills_figure(pd.DataFrame())):
        assert "measured yet" in figure.layout.annotations[-1].text
        assert not any(len(trace.z) for trace in figure.data)


@pytest.fixture
def points():
    rows = [("unreduced", "unreduced", math.nan, 0.99), ("zero", "hand-designed", math.nan, 0.2)]
    rows += [("s <1>", "searched", 0.3, 0.9), ("fastv at 0.3", "hand-designed", 0.3, 0.8), ("t", "searched", 0.1, 0.5)]
    frame = pd.DataFrame(rows, columns=["name", "family", "ratio", "accuracy"])
    return frame.assign(**{"skill:text": frame["accuracy"] - 0.1, "skill:chart": [1.0, math.nan, 0.9, 0.8, 0.7]})


def test_skills_by_ratio(points):
    figure = skills_figure(points, "S")
    large, small = figure.data
    assert list(large.x) == ["<b>overall</b>", "text", "chart"]
    assert list(large.y) == ["zero", "fastv at 0.3", "<b>s &lt;1&gt;</b>", "unreduced"]
    assert list(small.y) == ["zero", "<b>t</b>", "unreduced"]
    assert np.asarray(large.z)[2].tolist() == pytest.approx([90.0, 80.0, 90.0])
    assert np.asarray(large.text)[0].tolist() == ["20", "10", ""]
    assert large.visible
    assert not small.visible
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["ratio 0.3", "ratio 0.1"]
    many = skills_figure(pd.concat([points] * 3)).data[0]
    assert (large.showscale, many.showscale) == (False, True)  # beside four rows a scale is a smear


def test_a_page_holds_plotly_once_and_every_figure(points, kept):
    html = page("A <title>", "lead & all", [skills_figure(points), kept_figure(kept, [picture("red")])])
    assert html.count('id="plotly-packed"') == 1
    assert html.count('class="plotly-graph-div"') == 2
    assert "<h1>A &lt;title&gt;</h1><p>lead &amp; all</p>" in html


def test_an_overlay_as_a_picture_has_the_figure_s_colours():
    uri = overlay_png(picture("red"), [0, 7], [1.0, 32.0])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), dtype=int)
    assert pixels.shape == (GRID[0] * 16, GRID[1] * 16, 3)
    assert abs(pixels[8, 8] - [255, 0, 0]).max() < 6  # stands for itself: clear
    assert pixels[24, 24, 2] > 30  # stands for many: crimson
    assert pixels[8, 40].max() < 90  # gone: dark


def test_names_are_shown_as_they_are_and_attributes_stay_whole(kept):
    name = """a "b" 'c' <d>"""
    shown = kept_figure(kept.assign(column=name), [picture("red")], name)
    texts = [note.text for note in shown.layout.annotations]
    assert texts[0].startswith("""<b>a "b" 'c' &lt;d&gt;</b>""")
    assert """<b>a "b" 'c' &lt;d&gt;</b>""" in texts[1:]
    assert """ aria-label="a &quot;b&quot; &#x27;c&#x27; &lt;d&gt;">""" in page("T", "", [shown])
    front = pareto_figure(pd.DataFrame([{"name": name, "family": "searched", "accuracy": 0.5, "compute_ratio": 0.5}]))
    assert front.data[0].customdata[0].startswith("""<b>a "b" 'c' &lt;d&gt;</b>""")


def test_no_page_offers_to_upload_a_figure(kept):
    shown = kept_figure(kept, [picture("red")])
    for text in (alone(shown), page("T", "", [shown])):
        assert '"showSendToCloud": false' in text
