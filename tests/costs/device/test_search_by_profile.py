"""Searches for a device that is not here: by its profile alone."""

from __future__ import annotations

import pytest
import torch
from made_up_device import profile_for
from typer.testing import CliRunner

from eos_platform.cli.app import app
from eos_platform.common.errors import EosError
from eos_platform.costs.amount import amount
from eos_platform.costs.registry import COSTS
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
        (["--budget", "8ms"], "none.json: "),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    given = ["search", "--model", "bundled-small", "--device-profile", str(tmp_path / "none.json"), *arguments]
    done = CliRunner().invoke(app, given, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output
