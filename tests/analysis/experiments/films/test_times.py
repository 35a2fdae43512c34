"""Times of operators on films: what is measured, what is left out, and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eos_platform.analysis.experiments.films import times
from eos_platform.bench.shapes import random_model

torch.set_num_threads(1)


NAMES = (times.SEARCHED, "evs", "fastvid", "holitom")


def test_each_operator_beside_its_bound_and_what_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "REPEATS", 1)
    setup = times.setup_of(random_model("tiny", torch.device("cpu")), (4, 2, 3), 6)
    assert setup.target.axes == (4, 2, 3)
    with torch.inference_mode():
        rows = list(times.measure(setup, (0.5, 0.2), NAMES, ("eager",)))
        assert list(times.measure(setup, (0.5,), ("evs",), ("eager",), 0))[1]["refused"].startswith("not measured")
    assert [row["operator"] for row in rows] == ["unreduced", *2 * NAMES]
    measured = {(row["operator"], row["share"]) for row in rows if "eager_over_bound" in row}
    assert measured >= {(name, 0.5) for name in NAMES}
    assert ("evs", 0.2) not in measured
    printed = times.table(rows)
    assert len(printed.splitlines()) == 2 + len(rows)
    assert "| 4x2x3 | evs | 20% | 4.8 tokens are fewer than the 6 it has |" in printed


def test_the_command_writes_a_line_a_row_and_refuses_what_is_no_film(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "times.jsonl"
    words = ["--shape", "tiny", "--shares", ".5", "--operators", "evs", "--text", "6", "--out", str(out)]
    assert times.main([*words, "--films", "2x2x2"]) == 0
    assert len(out.read_text().splitlines()) == 2
    for change in (["--films", "4x4"], ["--films", "1x4x4"], ["--shares", "a quarter"], ["--operators", "evss"]):
        assert times.main([*words, "--films", "2x2x2", *change]) == 2
    printed = capsys.readouterr()
    assert "'4x4' is not frames x rows x columns" in printed.err
    assert "did you mean 'evs'" in printed.err
