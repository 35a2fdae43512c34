"""Costs from the command line: searched for, measured, listed; what is wrong with one is a line."""

import pytest
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec

RUNNER = CliRunner()
QUICK = ("steps=4", "batch_size=4", "search_questions=16", "eval_questions=16")
MODEL = ("--model", "bundled-small", "--device", "cpu")


def eos(*words):
    return RUNNER.invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_a_front_of_bytes_and_what_its_operators_measure(tmp_path):
    sets = [word for value in QUICK for word in ("--set", value)]
    done = eos("front", *MODEL, "--cost", "kv_bytes", "--budgets", "0.2MB", "--out", tmp_path, *sets)
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["operator-200000.json"]
    for words in ("KV cache bytes", "200 kB"):
        assert words in done.stdout
    path = tmp_path / "operator-200000.json"
    output = OperatorSpec.load(path).provenance["cost"]
    assert output["value"] <= output["budget"] == 200e3
    measured = eos("evaluate", path, *MODEL, "--questions", 16, "--cost", "kv_bytes", "--cost", "mean_tokens")
    assert measured.exit_code == 0, measured.output
    assert f"KV cache {output['value'] / 1e3:.3g} kB (unreduced " in measured.stdout
    assert "(unreduced 144 tokens)" in measured.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "--cost", "kv_byte"), "unknown cost 'kv_byte'; did you mean 'kv_bytes'?"),
        (("front", "--cost", "prefill_ms"), "--budgets: budget: cost prefill_ms needs one, in ms"),
        (("front", "--cost", "kv_bytes", "--budgets", "1MB,5ms"), "'5ms' is of cost prefill_ms; cost kv_bytes is in"),
        (("front", "--cost", "nope"), "cost: unknown cost 'nope'"),
        (("compare", "--set", "cost=kv_bytes", "--ratios", ".2"), "budgets are --ratios of compute here"),
        (("search", "--cost", "kv_bytes", "--budget", "20%"), "'20%' is of cost compute_ratio"),
    ],
)
def test_what_is_wrong_is_a_line(words, says):
    done = eos(*words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_costs_are_among_what_is_installed():
    done = eos("plugins", "--all")
    for name in COSTS:
        assert name in done.stdout
