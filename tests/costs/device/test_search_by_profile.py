"""Searches for a device that is not here: by its profile alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from made_up_device import profile_for
from typer.testing import CliRunner

from eos_platform.analysis.comparison.measure import _predicted
from eos_platform.cli.app import app
from eos_platform.common.errors import EosError
from eos_platform.costs.amount import amount
from eos_platform.costs.device.profile import MODES
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search import SearchConfig, search
from eos_platform.search.cost import search_cost
from eos_platform.tasks import load_workload
from eos_platform.tasks.typical import cost_context

QUICK = {"steps": 6, "batch_size": 4, "search_questions": 32, "eval_questions": 32}


@pytest.fixture(scope="module")
def small():
    torch.set_num_threads(1)
    return load_workload("bundled-small", device="cpu")


@pytest.fixture(scope="module")
def path(small, tmp_path_factory):
    return str(profile_for(small.shape, small.target).save(tmp_path_factory.mktemp("profile") / "made-up.json"))


def test_a_budget_of_a_device_that_is_not_here_is_met_by_its_profile(small, path):
    at = {"cost": "prefill_ms", "cost_batch": 16, "cost_mode": "captured", "device_profile": path}
    whole = search_cost(small, SearchConfig(budget=1.0, **at, **QUICK)).whole
    config = SearchConfig(budget=0.5 * whole, **at, **QUICK)
    result = search(small, config)
    assert 0.9 * config.budget < result.cost.value <= config.budget
    assert (result.cost.source, result.cost.device) == ("predicted", "Made-up 9000")
    assert "(predicted for Made-up 9000; budget " in str(result.cost)
    assert result.operator.provenance["cost"]["source"] == "predicted"
    assert result.history[0]["soft_cost"] == pytest.approx(config.budget, rel=0.01)
    assert any(line.startswith("milliseconds and joules are predicted for Made-up 9000") for line in result.remarks)
    context = cost_context(small, setting=config.setting)
    assert amount(COSTS["prefill_ms"], context, result.operator).value == result.cost.value


def test_a_profile_of_another_model_is_refused_before_anything_is_searched(path):
    other = load_workload("bundled-qwen", device="cpu")
    config = SearchConfig(cost="prefill_ms", budget=1.0, device_profile=path, **QUICK)
    with pytest.raises(EosError, match="make one with eos profile --model"):
        search_cost(other, config)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--budget", "8mss"], "unknown unit 'mss' of cost prefill_ms"),
        (["--budget", "8GB"], "'8GB' is of cost kv_bytes; cost prefill_ms is in ms"),
        (["--budget", "8uJ"], "unknown unit 'uJ' of cost energy_j; did you mean 'J'"),
        (["--budget", "8ms", "--cost", "compute_ratio"], "'8ms' is of cost prefill_ms; cost compute_ratio is a ratio"),
        (["--budget", "8ms", "--set", "cost_mode=captive"], "cost_mode: unknown value 'captive'"),
        (["--budget", "8ms"], "device profile not found: "),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    given = ["search", "--model", "bundled-small", "--device-profile", str(tmp_path / "none.json"), *arguments]
    done = CliRunner().invoke(app, given, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output


def test_an_operator_is_evaluated_with_what_it_takes_elsewhere_marked_as_predicted(small, path, tmp_path):
    sites = (SiteSpec(layer=5, keep=140, score={"last_text": 1.0}),)
    file = OperatorSpec(name="late", target=small.target, sites=sites).save(tmp_path / "late.json")
    given = ["evaluate", str(file), "--model", "bundled-small", "--questions", "16", "--device-profile", path]
    done = CliRunner().invoke(app, given, env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    assert re.search(r"prefill [\d.]+ ms, predicted for Made-up 9000 \(unreduced [\d.]+ ms\)", done.output)
    assert "note: late does not pay on Made-up 9000 at batch 1: prefill " in done.output
    assert done.output.rstrip().endswith("not measured here")


def test_a_comparison_predicts_in_every_mode_and_at_every_batch_of_the_profile(small, path):
    sites = (SiteSpec(layer=1, keep=40, score={"last_text": 1.0}),)
    record = _predicted(small, OperatorSpec(target=small.target, sites=sites), Path(path))
    assert list(record) == [
        f"prefill ms predicted for Made-up 9000, {mode}, batch {batch}" for batch in (1, 16) for mode in MODES[:2]
    ]
    assert record["prefill ms predicted for Made-up 9000, eager, batch 16"] > 8 * min(record.values())
    assert _predicted(small, None, None) == {}
