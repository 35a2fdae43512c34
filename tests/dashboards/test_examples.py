"""Example questions on a page: picture, what is kept, the answer, whether it is right; all of it as text."""

import base64
import io

import pandas as pd
from PIL import Image

from eos_platform.dashboards.examples import answer_words, examples_html


def picture():
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(stream, "PNG")
    png = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return {"png": png, "grid": [2, 2], "text": "how <many>?", "answer": "two"}


def test_right_wrong_and_in_between():
    assert answer_words({"given": "two", "worth": 1.0}) == ("two", "right")
    assert answer_words({"given": "", "worth": 0.0}) == ("(nothing)", "wrong")
    assert answer_words({"given": "a pair", "worth": 0.6}) == ("a pair", "worth 0.60")
    assert answer_words({"given": None, "worth": None}) is None


def test_the_picture_stands_beside_what_is_kept_and_what_was_answered():
    row = {"column": "trial <3>", "picture": 0, "origin": [0], "size": [4.0], "caption": "1 tokens left"}
    rows = pd.DataFrame(
        [{**row, "given": "<script>", "worth": 0.0}, {**row, "column": "b", "given": None, "worth": None}]
    )
    text = examples_html(rows, [picture()])
    assert text.count("<img ") == 3  # the picture, and as each of two has it
    assert "how &lt;many&gt;? (answer: two)" in text
    assert "answers <q>&lt;script&gt;</q>: <b class='wrong'>wrong</b>" in text
    assert "trial &lt;3&gt;, 1 tokens left" in text
    assert "<script" not in text
