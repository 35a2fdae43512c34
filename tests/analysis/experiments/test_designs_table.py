"""Designs measured on a bundled model, resumed, and what is printed of them."""

import csv
import random

import pytest

from eos_platform.analysis.experiments.designs_report import report
from eos_platform.analysis.experiments.designs_table import _drawn, cells, main, read
from eos_platform.analysis.stats.bitpack import unpack
from eos_platform.operators.designs.base import Knob

WORDS = ["--models", "bundled-small", "--designs", "holov,random,zero,tome-tower", "--ratios", ".2,.02"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("rows")
    words = ["--out", str(out), *WORDS, "--questions", "8", "--device", "cpu", "--one"]
    assert main(words) == 0
    return out, words


def test_rows_are_deployed_operators_at_the_ratio_or_say_why_not(folder):
    rows = read(folder[0] / "bundled-small.jsonl")
    assert [row["design"] for row in rows[:2]] == ["", "zero"]
    by_key = {(row["design"], row["ratio"]): row for row in rows}
    assert len(rows) == len(by_key) == 8
    for name in ("holov", "random", "tome-tower"):
        row = by_key[name, 0.2]
        assert row["compute_ratio"] <= 0.2
        assert row["accuracy"] == pytest.approx(unpack(row["correct"], 8).mean())
    assert "cannot reach" in by_key["holov", 0.02]["reason"]
    assert by_key["", None]["compute_ratio"] == 1.0


def test_what_is_there_is_not_measured_again(folder, capsys):
    out, words = folder
    path = out / "bundled-small.jsonl"
    whole = path.read_text()
    lines = whole.splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    assert len(read(path)) == len(lines) - 1
    assert main(words) == 0
    assert len(read(path)) == len(lines)
    numbers = out / "numbers.csv"
    assert main(["--out", str(out), "--models", "bundled-small", "--table", "--csv", str(numbers)]) == 0
    table = list(csv.DictReader(numbers.read_text().splitlines()))
    assert [row["design"] for row in table] == [row["design"] for row in read(path)]
    assert [bool(row["reason"]) for row in table] == ["reason" in row for row in read(path)]
    assert float(table[0]["accuracy"]) == pytest.approx(read(path)[0]["accuracy"], abs=1e-5)
    printed = capsys.readouterr().out
    assert "unreduced" in printed
    assert "mean ranks of accuracy, published" in printed


def test_cells_go_ratio_by_ratio():
    found = list(cells(["zero", "random", "fastv"], [0.1, 0.2], tune=2))
    assert found[:4] == [("", "", None), ("zero", "published", None), ("random", "published", 0.1),
                         ("fastv", "published", 0.1)]  # fmt: skip
    assert [cell[1] for cell in found].count("tuned") == 4


def test_what_a_model_cannot_read_is_shown_and_not_ranked():
    def row(design, accuracy, stand_in=False, **more):
        return {"model": "m", "task": "t", "design": design, "variant": "published" if design else "", "ratio": 0.1,
                "accuracy": accuracy, "detail": None, "stand_in": stand_in, **more}  # fmt: skip

    whole = {**row("", 0.9), "ratio": None, "questions": 4, "detail_questions": 0}
    text = report([whole, row("a", 0.5), row("b", 0.6), row("c", 0.9, stand_in=True)])
    table, ranks = text.split("mean ranks of accuracy")
    assert "c~" in table
    assert "90.0" in table
    assert ranks.index("b  ") < ranks.index("a  ")
    assert "c  " not in ranks


def test_a_single_row_is_a_report():
    row = {"model": "m", "task": "t", "design": "tome", "variant": "published", "ratio": 0.2, "accuracy": 0.5,
           "detail": None, "detail_questions": 0, "questions": 10, "stand_in": False}  # fmt: skip
    assert report([row]).splitlines()[0] == "m (t)"


def test_the_folder_must_be_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--table"])
    assert ended.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_knobs_are_drawn_within_their_bounds():
    draw = random.Random(0)
    share = Knob("share", 0.5, low=0.1, high=0.9)
    layer = Knob("layer", 2, low=1, high=9)
    wide = Knob("tau", 1.0, low=0.01, high=100.0, log=True)
    drawn = [_drawn(share, draw) for _ in range(200)]
    assert 0.1 <= min(drawn) < 0.2 < 0.8 < max(drawn) <= 0.9
    assert {type(_drawn(layer, draw)) for _ in range(9)} == {int}
    assert 0.3 < sum(_drawn(wide, draw) < 1 for _ in range(200)) / 200 < 0.7  # as many below as above
    assert _drawn(Knob("way", "a", choices=("a", "b")), draw) in ("a", "b")
