"""Searches whose budget is about another cost than compute, measured or exact."""

import math

import pytest
import torch
from typer.testing import CliRunner

from eos_platform.cli.app import app
from eos_platform.common.errors import EosError
from eos_platform.costs import fit, prefill_time
from eos_platform.costs.registry import COSTS
from eos_platform.search import SearchConfig, search
from eos_platform.search.checkpoint import kept_fit
from eos_platform.search.cost import Spent, search_cost
from eos_platform.search.start import check
from eos_platform.tasks.typical import cost_context

QUICK = {"steps": 6, "batch_size": 4, "search_questions": 32, "eval_questions": 32}


@pytest.fixture
def hasty(monkeypatch):
    """Fewer repeats: what is measured stays real."""
    monkeypatch.setattr(prefill_time, "PATIENCE", 0.02)
    monkeypatch.setattr(fit, "ROUNDS", 1)


@pytest.fixture
def timed(small, hasty):
    """The fitted milliseconds of the small model, and a budget between the least and the most."""
    cost = search_cost(small, SearchConfig(cost="prefill_ms", budget=1e6, **QUICK))
    least, most = cost.fitted.curve(1.0), cost.fitted.curve(143.0)
    return cost, least + cost.fitted.site + 0.4 * (most - least)


def test_a_search_meets_milliseconds_by_the_fit_and_says_what_was_measured(small, timed, tmp_path):
    cost, budget = timed
    cost.fitted = cost.fitted.model_copy(update={"unreduced": max(cost.fitted.curve(144.0), budget) + 1})  # it pays
    result = search(small, SearchConfig(cost="prefill_ms", budget=budget, **QUICK), cost=cost, checkpoint=tmp_path)
    spent = result.cost
    assert spent.predicted <= budget or "counts scaled" in " ".join(result.remarks)  # to meet it as measured
    assert spent.predicted == cost.deployed(result.operator)
    assert spent.value > 0
    assert spent.source == "measured"
    assert result.operator.provenance["cost"] == spent.as_json()
    assert result.operator.provenance["search"]["cost"] == "prefill_ms"
    assert "soft_cost" in result.history[-1]
    assert kept_fit(tmp_path) == cost.fitted
    again = search(small, SearchConfig(cost="prefill_ms", budget=budget, **QUICK), checkpoint=tmp_path)
    assert again.cost.predicted == spent.predicted  # by the fit of the folder, not by one measured anew
    assert again.operator.sites == result.operator.sites


def test_a_search_meets_an_exact_cost(small):
    name = "kv_bytes"
    config = SearchConfig(cost=name, budget="200kB", layers=(0, 3), budget_warm_up=1.0, eval_every=3, **QUICK)
    seen = []
    result = search(small, config, report=lambda step, curves: seen.append(curves))
    deployed = [curves[name] for curves in seen if "accuracy" in curves]
    assert deployed
    assert max(deployed) <= config.budget  # evaluations on the way, whole counts
    exact = COSTS[name].measure(cost_context(small), result.operator)
    assert 0.9 * config.budget < exact <= config.budget
    assert result.cost == Spent(name, COSTS[name].unit, config.budget, exact)
    assert result.history[0]["soft_cost"] == pytest.approx(config.budget, rel=0.01)


def test_the_compute_ratio_is_one_cost_among_others(small):
    result = search(small, SearchConfig(budget=0.15, **QUICK))
    assert result.cost == Spent("compute_ratio", "", 0.15, result.compute_ratio)
    assert result.cost.remark == ""
    assert "soft_cost" not in result.history[-1]


def test_a_miss_is_told_in_words():
    reported = Spent("prefill_ms", "ms", 8.0, 8.9, 7.9).remark
    assert reported == "prefill 8.9 ms as measured is 11% above the budget of 8 ms; the fit predicted 7.9 ms"
    assert Spent("prefill_ms", "ms", 8.0, 8.3, 7.9).remark == ""
    assert "below" in Spent("prefill_ms", "ms", 8.0, 4.0, 7.9).remark


def test_milliseconds_that_nothing_reaches_are_refused(small, timed):
    cost, _ = timed
    with pytest.raises(EosError, match=r"budget 0\.0001 ms is impossible: .* ms as fitted"):
        check(small, SearchConfig(cost="prefill_ms", budget="0.1us", **QUICK), cost)


@pytest.mark.parametrize(
    ("cost", "budget", "says"),
    [
        ("kv_bytes", "5GB", "budget 5 GB leaves nothing to reduce: the unreduced model takes "),
        ("mean_tokens", 144.5, "budget 144.5 tokens leaves nothing to reduce: the unreduced model takes 144 tokens"),
        ("kv_bytes", "1kB", "budget 1 kB is impossible: one visual token at every searched site already takes "),
    ],
)
def test_budgets_out_of_reach_are_refused_in_their_unit(small, cost, budget, says):
    with pytest.raises(EosError) as raised:
        check(small, SearchConfig(cost=cost, budget=budget, **QUICK))
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize(
    ("relaxed", "says"),
    [
        (lambda *_: 3.0, "cost 'mean_tokens' is broken: its relaxed form is no finite scalar tensor"),
        (lambda *_: torch.ones(2), "cost 'mean_tokens' is broken: its relaxed form is no finite scalar tensor"),
        (lambda *_: torch.tensor(math.nan), "cost 'mean_tokens' is broken: its relaxed form is no finite scalar"),
        (lambda self, context, sites: None, "cost 'mean_tokens' fails: TypeError"),
    ],
)
def test_a_broken_relaxed_form_is_one_line_before_anything_is_searched(small, monkeypatch, relaxed, says):
    monkeypatch.setattr(type(COSTS["mean_tokens"]), "relaxed", relaxed)
    with pytest.raises(EosError) as raised:
        check(small, SearchConfig(cost="mean_tokens", budget=30.0, **QUICK))
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cost", "prefil_ms", "--budget", "8ms"], "cost: unknown cost 'prefil_ms'; did you mean 'prefill_ms'"),
        (["--budget", "8ms"], "budget: '8ms' is of cost prefill_ms"),
        (["--cost", "prefill_ms"], "budget: cost prefill_ms needs one, in ms"),
        (["--cost", "prefill_ms", "--budget", "8mss"], "unknown unit 'mss'"),
        (["--cost", "prefill_ms", "--budget", "-8ms"], "greater than 0"),
        (["--budget", "1.5"], "less than or equal to 1"),
        (["--budget", "much"], "expected a number such as 0.2"),
    ],
)
def test_wrong_names_and_units_are_one_line_and_exit_code_2(arguments, says):
    done = CliRunner().invoke(app, ["search", *arguments], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


def test_what_a_file_says_of_a_cost():
    exact = Spent("kv_bytes", "bytes", 100.0, 90.0).as_json()
    assert exact == {"name": "kv_bytes", "unit": "bytes", "budget": 100.0, "value": 90.0, "source": "computed"}
    fitted = Spent("prefill_ms", "ms", 5.0, 5.1, 4.9).as_json()
    assert (fitted["source"], fitted["predicted"]) == ("measured", 4.9)
