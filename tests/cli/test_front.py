"""``eos front`` from the command line to its operator files."""

import pytest
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.operators.spec import OperatorSpec

RUNNER = CliRunner()
QUICK = ("steps=8", "batch_size=4", "search_questions=32", "eval_questions=32")


def eos(*words):
    return RUNNER.invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "140"})


def test_every_budget_gets_its_file(tmp_path):
    sets = [word for value in QUICK for word in ("--set", value)]
    done = eos("front", "--model", "bundled-small", "--budgets", ".2,.4", "--out", tmp_path / "ops", *sets)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "ops").iterdir()) == ["operator-0.2.json", "operator-0.4.json"]
    for budget in (0.2, 0.4):
        operator = OperatorSpec.load(tmp_path / "ops" / f"operator-{budget:g}.json")
        assert operator.provenance["search"]["budget"] == budget
        assert f"operator-{budget:g}.json" in done.stdout  # whole, however wide the terminal
    assert f"eos compare {tmp_path / 'ops'}/*.json" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--budgets", "abc"), "expected numbers separated by commas"),
        (("--budgets", ".3,2"), "front: budget"),
        (("--set", "stepz=3"), "did you mean 'steps'"),
    ],
)
def test_bad_input_is_one_line(words, says):
    done = eos("front", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
