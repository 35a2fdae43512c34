"""What is refused leaves nothing: the folder after every refused command is the folder before it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import eos_platform as eos
from eos_platform import cli
from eos_platform.errors import EosError
from eos_platform.tracking import load_operator, provenance, read_study

RUNNER = CliRunner()
SMALL = ["--model", "bundled-small"]


def snapshot(folder):
    """Every path with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a few things in it, none of them what a command wants."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "file").write_text("no")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.yaml").write_text("name: [")
    other = {"target": {"layers": 40, "grid": [24, 24]}, "sites": [{"layer": 2, "keep": 9, "score": {"norm": 1.0}}]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    (tmp_path / "empty").mkdir()
    return tmp_path


REFUSED = [
    ["search", "--budget", "7"],
    ["search", "--model", "none", "-o", "new/op.json"],
    ["search", "--model", "empty", "-o", "new/op.json", "--state", "state"],
    ["search", *SMALL, "--task", "none", "-o", "new/op.json"],
    ["search", *SMALL, "-o", "file/op.json"],
    ["evaluate", "bad.json", *SMALL],
    ["evaluate", "other.json", *SMALL, "--questions", "8"],
    ["explain", "bad.json", "--out", "new"],
    ["explain", "other.json", *SMALL, "--questions", "8", "--out", "new"],
    ["front", "--budgets", "x", "--out", "new"],
    ["front", "--model", "none", "--out", "new"],
    ["front", *SMALL, "--set", "stepz=1", "--out", "new"],
    ["compare", "bad.json", *SMALL, "--out", "new"],
    ["compare", "other.json", *SMALL, "--out", "new"],
    ["compare", "--model", "none", "--out", "new"],
    ["compare", "--designs", "none-such", "--out", "new"],
    ["compare", "--out", "file"],
    ["compare", "--report-only", "--out", "new"],
    ["compare", "--report-only", "--out", "empty"],
    ["compare", "--mlflow", "sqlite:///file/x.db", "--out", "new"],
    ["compare", "--mlflow", "http://127.0.0.1:9", "--out", "new"],
    ["bench", "none.json", "--shape", "tiny", "--out", "new"],
    ["bench", "--shape", "none", "--out", "new"],
    ["bench", "--modes", "none", "--out", "new"],
    ["bench", *SMALL, "--mlflow", "sqlite:///file/x.db", "--out", "new"],
    ["bench", *SMALL, "--mlflow", "http://127.0.0.1:9", "--out", "new"],
    ["bench", "bad.json", *SMALL, "--out", "new"],
    ["report", "none", "--out", "new/report.html"],
    ["report", "none", "--tracking", "sqlite:///none.db", "--out", "new/report.html"],
    ["report", "empty", "--out", "new/report.html", "--figures", "new/figures"],
    ["report", "none", "--format", "gif", "--figures", "new/figures"],
    ["dashboard", "--studies", "none"],
    ["dashboard", "--tracking", "sqlite:///none.db"],
    ["dashboard", "--mlflow-ui", "javascript:alert(1)"],
    ["study", "run", "none"],
    ["study", "run", "bad.yaml"],
    ["study", "run", "quickstart", "--set", "trials=0"],
    ["study", "run", "quickstart", "--runs", "file/runs"],
    ["study", "run", "quickstart", "--set", "final.baselines=[none]"],
    ["study", "run", "quickstart", "--set", "stores.mlflow=http://127.0.0.1:9"],
    ["study", "run", "quickstart", "--set", "warm_start.operators=[none.json]"],
    ["study", "run", "quickstart", "--address", "127.0.0.1:9", "--runs", "new"],
    ["study", "resume", "quickstart"],
    ["study", "status", "quickstart", "--runs", "new"],
    ["study", "check", "quickstart", "--runs", "new"],
    ["cluster", "check", "--address", "127.0.0.1:9", "--storage", "new"],
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_refused_command_leaves_nothing(here, words):
    before = snapshot(here)
    done = RUNNER.invoke(cli.app, words)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("eos: ")
    assert done.stderr.count("\n") == 1
    assert snapshot(here) == before


CALLS = {
    "attach": lambda: eos.attach(object(), "models:/x@y"),
    "load_operator": lambda: load_operator("models:/x@y"),
    "load_operator of a run": lambda: load_operator("runs:/abc"),
    "provenance": lambda: provenance("models:/x/1"),
    "read_study": lambda: read_study("x"),
    "study points": lambda: eos.Study("quickstart").points(),
    "study status": lambda: eos.Study("quickstart").status(),
    "study check": lambda: eos.Study("quickstart").check(),
    "study resume": lambda: eos.Study("quickstart").resume(),
    "search": lambda: eos.search(eos.load_workload("none"), eos.SearchConfig()),
    "save": lambda: eos.OperatorSpec.load("other.json").save(Path("file") / "x.json"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_call_leaves_nothing(here, name):
    before = snapshot(here)
    with pytest.raises(EosError):
        CALLS[name]()
    assert snapshot(here) == before
