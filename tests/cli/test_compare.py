"""``eos compare`` from end to end on the small model."""

import shlex

import pandas as pd
import pytest
from typer.testing import CliRunner

from eos_platform.analysis.comparison import run as run_module
from eos_platform.cli import app as cli
from eos_platform.tracking import read_study

RUNNER = CliRunner()
WORDS = ["--model", "bundled-small", "--ratios", ".3", "--designs", "random", "--questions", "32", "--batch", "1"]
QUICK = [word for value in ("steps=2", "batch_size=4") for word in ("--set", value)]
LESS = [word for value in ("steps=4", "search_questions=16", "eval_questions=16") for word in ("--set", value)]


def eos(*words):
    return RUNNER.invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "140"})


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_from_nothing_to_every_output(tmp_path):
    done = eos("compare", *WORDS, *LESS, "--set", "batch_size=4", "--tune", 2, "--pictures", 1)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "eos-compare"
    for words in ("unreduced", "searched at 0.3, seed 0", "random at 0.3", "p (Holm)", "mlflow ui"):
        assert words in done.stdout
    points = pd.read_csv(folder / "points.csv")
    assert sorted(points["family"].unique()) == ["hand-designed", "searched", "unreduced"]
    gaps = pd.read_csv(folder / "differences.csv")
    assert len(gaps) == len(points) - 2
    assert "# Searched and hand-designed operators: bundled-small" in (folder / "report.md").read_text()
    html = (folder / "page.html").read_text()
    assert "Tokens kept at the end: searched, and designs as published" in html
    runs = read_study("compare bundled-small", "sqlite:///eos-runs/mlflow.db")
    assert sorted(runs["name"]) == sorted(points["name"])

    (folder / "page.html").unlink()
    again = eos("compare", "--report-only", "--mlflow", "none")
    assert again.exit_code == 0, again.output
    assert (folder / "page.html").exists()
    assert "mlflow ui" not in again.stdout


def test_ctrl_c_keeps_what_is_measured(tmp_path, monkeypatch):
    real = run_module.measure

    def once(workload, operator, **options):
        if operator is not None:
            raise KeyboardInterrupt
        return real(workload, operator, **options)

    monkeypatch.setattr(run_module, "measure", once)
    words = ["compare", *map(str, WORDS), "--seeds", "0", "--out", "a b", "--mlflow", "none"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/eos", *words])
    done = eos(*words)
    assert done.exit_code == 130
    assert f"eos: stopped; what has been measured is kept. Resume with: eos {shlex.join(words)}\n" in done.stderr
    assert "eos compare --report-only --out 'a b'" in done.stderr
    shown = eos("compare", "--report-only", "--out", "a b", "--mlflow", "none")
    assert shown.exit_code == 0, shown.output
    assert "unreduced" in shown.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--report-only"], "eos-compare holds no comparison"),
        (["--ratios", "2"], "compare: ratios"),
        (["--designs", "fastvv"], "unknown design 'fastvv'; did you mean 'fastv'"),
        (["none.json", "--model", "bundled-small"], "operator file not found: none.json"),
        (QUICK, "steps"),
        (["--mlflow", "http://127.0.0.1:9"], "cannot open the MLflow store"),
    ],
)
def test_bad_input_is_one_line(words, says):
    words = [*words] if "--mlflow" in words else [*words, "--mlflow", "none"]
    done = eos("compare", *words)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_has_an_example():
    done = eos("compare", "--help")
    assert "Example: eos compare" in done.output
