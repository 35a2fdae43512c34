"""The true-size experiment, tried on small models of the same classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from eos_platform.analysis.experiments.true_models import FIXED, MIXED, NAMES, PAIR, config_of, subject_of
from eos_platform.analysis.experiments.true_size import _whole, main
from eos_platform.common.errors import EosError
from eos_platform.search.config import SearchConfig

WORDS = ["--tiny", "--device", "cpu", "--steps", "5", "--batch", "4", "--questions", "16", "--eval-questions", "8"]


def test_every_model_has_its_true_sizes() -> None:
    sizes = {name: config_of(name, False).text_config for name in NAMES}
    assert [sizes[name].hidden_size for name in NAMES] == [4096, 5120, 3584, 3584, 4096]
    assert [sizes[name].num_hidden_layers for name in NAMES] == [32, 40, 28, 28, 36]
    for name in NAMES:  # of each pair of a head's dimensions, one axis
        section = (sizes[name].rope_parameters or {}).get("mrope_section")
        assert section is None or 2 * sum(section) == 128
        assert (section is None) == name.startswith("llava")
    assert all(side % PAIR == 0 for grid in (*FIXED, *MIXED) for side in grid)
    with pytest.raises(EosError, match=r"unknown model 'llava-1\.5-7c'"):
        config_of("llava-1.5-7c", False)


@pytest.mark.parametrize(
    ("name", "parameters"),  # of the published weights
    [("llava-1.5-7b", 7_063_427_072), ("qwen2.5-vl-7b", 8_292_166_656), ("qwen3-vl-8b", 8_767_123_696)],
)
def test_every_model_has_as_many_parameters_as_the_published_one(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config_of(name, False))
    assert sum(one.numel() for one in model.parameters()) == parameters


def test_mixed_sizes_are_mixed() -> None:
    subject = subject_of("qwen2.5-vl-7b-mixed", 64, 8, tiny=True)
    encoded = subject.encoded("search", 64)
    assert {units[0][0] for units in encoded.units} == {(16, 16), (12, 16), (12, 12), (8, 12)}
    assert encoded.heaviest(3).tolist()[0] in encoded.groups[(((16, 16), 1),)]
    assert 0.5 < encoded.mean_share < 1


@pytest.mark.slow  # whole searches, for what one runs now and then
def test_a_model_that_fails_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    out = tmp_path / "rows.jsonl"
    assert main(["--model", "nothing", "llava-1.5-7b", *WORDS, "--out", str(out)]) == 0
    broken, row = map(json.loads, out.read_text().splitlines())
    assert broken["failed"].startswith("EosError: unknown model 'nothing'")
    assert row["whole_is"] == "extrapolated"
    assert row["whole_seconds"] > row["search_seconds"] > row["step_seconds"] > 0
    assert row["estimate"]["at_once"] == 4
    assert row["told"][0].startswith("estimate: ")
    assert "failed: EosError" in capsys.readouterr().out


@pytest.mark.slow  # whole searches, for what one runs now and then
def test_what_is_not_over_in_time_is_reported_so(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    assert main(["--model", "llava-1.5-7b", *WORDS, "--deadline", "0", "--out", str(out)]) == 0
    row = json.loads(out.read_text())
    assert row["stopped_at"] == 1
    assert row["whole_is"] == "not known"


def test_a_whole_search_of_known_parts() -> None:
    short = SearchConfig(budget=0.2, steps=24, search_questions=512, eval_questions=64)
    row = {
        "processes": 1, "step_seconds": 0.5, "trial_seconds": 4.0, "questions": 512, "teacher_seconds": 2.0,
        "encode_seconds": 1.0, "search_seconds": 2.0 + 24 * 0.5 + 4.0 + 3.0,
    }  # fmt: skip
    seconds, how = _whole(row, short)
    assert how == "extrapolated"
    # steps, trials on twice the questions, the last evaluations on 16 times, teacher and pictures likewise
    assert seconds == pytest.approx(480 * 0.5 + 4.0 * 2 + 3.0 * 16 + 2.0 * 16 + 1.0 * 16)
    # whose soft steps took twice as long as those of a whole search do
    assert _whole({**row, "slower": 2.0}, short)[0] == pytest.approx(seconds - 240 * 0.5)


@pytest.mark.slow  # whole searches, for what one runs now and then
def test_a_profile_is_of_three_points_of_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.jsonl"
    words = ["--model", "llava-1.5-7b", "--profile", "--tiny", "--device", "cpu", "--batch", "4", "--out", str(out)]
    assert main(words) == 0
    row = json.loads(out.read_text())
    points = [(point["step"], point["candidates"], point["masked"]) for point in row["points"]]
    assert points == [(0, 144, False), (96, 128, False), (383, 96, True), (383, 96, False)]
    assert all(point["seconds"] > 0 for point in row["points"])
    assert len(row["operations"]) == 12
    assert [spent for _, spent, _ in row["operations"]] == sorted((one[1] for one in row["operations"]), reverse=True)
    assert "dearest operations, in themselves" in capsys.readouterr().out


def test_nothing_but_failures_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nothing", *WORDS, "--out", str(tmp_path / "rows.jsonl")]) == 1
    assert "nothing" in capsys.readouterr().out
