"""The real commands on folders of models of other families, and questions about files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from task_folders import model_folder, questions_file
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.common import strict_json
from eos_platform.operators.spec import OperatorSpec

QUICK = ("--steps", "6", "--budget", "0.6", "--set", "batch_size=8", "--set", "search_questions=32")


def eos(*words: object) -> Result:
    done = CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize(
    "family",
    [pytest.param("LLaVA-NeXT", marks=pytest.mark.slow), "Idefics3"],  # 88 tokens a picture: 25 s
)
def test_every_command_takes_files_and_any_family(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "model", family)
    questions_file(tmp_path, 40)
    task = ("--model", "model", "--task", "files", "--data", "questions.jsonl")
    output = eos("search", *task, *QUICK, "-o", "found.json").output
    assert "eos evaluate found.json --model model --task files --data questions.jsonl" in output
    operator = OperatorSpec.load("found.json")
    assert str(operator.provenance["task"]).startswith("files ")
    output = eos("evaluate", "found.json", *task).output
    assert "even" in output
    assert "odd" in output
    eos("explain", "found.json", *task, "--questions", 4, "--pictures", 2, "--out", "explained")
    explained = strict_json.loads(Path("explained/explain.json").read_text())
    assert explained["questions"] == 4
    assert explained["whole_model_ratio"] is None
    assert re.search(r"data:image(/|\\u002f)png", Path("explained/explain.html").read_text())
    designs = ("--designs", "random,visionzip", "--seeds", 0, "--mlflow", "none", "--out", "compared")
    eos("compare", "found.json", *task, "--questions", 4, *designs, "--pictures", 2)
    header = strict_json.loads(Path("compared/comparison.json").read_text())
    assert header["questions"] == 4
    assert len(header["examples"]) == 2
    records = [strict_json.loads(line) for line in Path("compared/results.jsonl").read_text().splitlines()]
    states = {record["name"].split(" ")[0]: record["status"] for record in records}
    assert states["random"] == "measured"
    assert states["visionzip"] == "unreachable"  # it reads the tower
    assert all(record["kept"] for record in records if record.get("operator"))
    assert "--task files --data questions.jsonl" in Path("compared/report.md").read_text()


def test_rows_left_out_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "model", "Idefics3")
    with questions_file(tmp_path, 40).open("a") as stream:
        stream.write(json.dumps({"image": "none.png", "question": "w", "answer": "w"}) + "\n")
    task = ("--model", "model", "--task", "files", "--data", "questions.jsonl", "--questions", "4")
    refused = CliRunner().invoke(cli.app, ["evaluate", *task])
    assert refused.exit_code == 2
    assert "1 of 81 rows cannot be used: line 81: picture not found: 'none.png'; --allow-bad 0.013" in refused.stderr
    output = eos("evaluate", *task, "--allow-bad", "0.05")
    assert "eos: left out: questions.jsonl: line 81: picture not found: 'none.png'" in output.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--task", "fles"), "unknown task 'fles'; did you mean 'files'"),
        (("--task", "files"), "task 'files' needs 'data' (--data"),
        (("--data", "x.jsonl"), "questions file not found: x.jsonl"),
        (("--task", "files", "--data", "x.jsonl"), "questions file not found: x.jsonl"),
    ],
)
@pytest.mark.parametrize("command", [("search",), ("evaluate",), ("explain", "o.json"), ("compare",), ("front",)])
def test_wrong_tasks_are_told_before_anything_is_loaded(
    command: tuple[str, ...], words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    OperatorSpec.model_validate({"target": {"layers": 6, "grid": [12, 12]}}).save("o.json")
    done = CliRunner().invoke(cli.app, [*command, "--model", "bundled-small", *words], env={"COLUMNS": "120"})
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) in (["o.json"], ["eos-runs", "o.json"])


@pytest.mark.slow  # Ray starts, and two processes load a model
def test_a_study_of_another_family_on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "model", "Idefics3")
    questions_file(tmp_path, 40)
    study = {
        "name": "mine",
        "model": "model",
        "task": {"name": "files", "data": "questions.jsonl"},
        "search": {"steps": 4, "batch_size": 8, "search_questions": 32, "eval_questions": 8},
        "space": {"budget": {"choice": [0.5, 0.7]}},
        "trials": 2,
        "concurrent": 1,
        "sampler": "qmc",
        "constraints": {"accuracy": {"odd": 0.0}},
        "final": {"questions": 8, "baselines": ["random", "visionzip"], "ratios": 1},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(study))
    output = eos("study", "run", "mine.yaml").output
    assert "visionzip" in output
    assert "is left out" in output
    points = Path("eos-runs/mine/points.csv").read_text()
    assert "skill:odd" in points
    assert "searched" in points
    kept = Path("eos-runs/mine/study.yaml").read_text()
    assert yaml.safe_load(kept)["task"] == study["task"]
    study["name"], study["constraints"] = "other", {"accuracy": {"od": 0.5}}
    Path("other.yaml").write_text(yaml.safe_dump(study))
    done = CliRunner().invoke(cli.app, ["study", "run", "other.yaml"], env={"COLUMNS": "120"})
    assert done.exit_code == 2
    assert "constraints.accuracy: unknown skill 'od'; did you mean 'odd'" in done.stderr
