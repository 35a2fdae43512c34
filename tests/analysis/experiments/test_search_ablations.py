"""One thing changed at a time, on the small model; and what a step costs."""

import json

import pytest

from eos_platform.analysis.experiments.search_ablations import FIXED, main, table, variants
from eos_platform.analysis.experiments.step_time import main as time_steps
from eos_platform.search.config import SearchConfig

SETTINGS = ("steps=4", "batch_size=8", "search_questions=64", "eval_questions=16")
SHORT = ["--device", "cpu", *(word for setting in SETTINGS for word in ("--set", setting))]


@pytest.mark.parametrize("depth", [4, 8, 32])
def test_every_variant_is_a_search_that_differs_from_the_default(depth):
    default = SearchConfig.of({"budget": 0.2})
    for name, settings in variants(depth).items():
        config = SearchConfig.of({"budget": 0.2, **settings})
        assert (config == default) == (name == "default"), name
        assert all(layer < depth for layer in config.layers or ())


def test_the_fixed_variants_name_settings_that_are_there():
    assert {key for settings in FIXED.values() for key in settings} <= set(SearchConfig.model_fields)


def test_an_unknown_variant_is_refused_before_anything_runs(tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    assert main(["--model", "bundled-small", "--variants", "no-probes", "--out", str(out)]) == 2
    assert "no-probe" in capsys.readouterr().err
    assert not out.exists()


def test_a_short_search_is_written_down_once(tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    words = ["--model", "bundled-small", "--variants", "no-alignment", "--seeds", "1", "--budgets", ".3", *SHORT]
    words += ["--questions", "32", "--out", str(out)]
    assert main(words) == 0
    row = json.loads(out.read_text())
    assert row["compute_ratio"] <= 0.3
    assert row["samples"] >= 4 * 8
    assert main(words) == 0
    assert len(out.read_text().splitlines()) == 1  # the second time, nothing was left to do
    assert "no-alignment" in capsys.readouterr().out


def test_step_time_prints_ratios_of_what_it_measured(capsys):
    assert time_steps(["--model", "bundled-small", "--budget", ".3", *SHORT]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step_ratio"] == pytest.approx(found["step_ms"] / found["unreduced_ms"])
    assert found["samples"] >= 4 * 8


def test_a_line_has_the_mean_and_the_range_in_per_cent():
    more = {"budget": 0.05, "variant": "default", "compute_ratio": 0.05, "relaxed": 0.97, "validation": 0.96,
            "samples": 640, "seconds": 2.0}  # fmt: skip
    line = table([{**more, "heldout": 0.96}, {**more, "heldout": 0.98, "compute_ratio": 0.049}]).splitlines()[1]
    assert line.split() == ["0.05", "default", "2", "97.00", "96.0..98.0", "0.0500", "1.00", "640", "2.0"]
