"""``scenes-v2`` by the command line: search, evaluate, explain, compare; no task is named, the model's own is meant."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from eos_platform.analysis.comparison.settings import Settings
from eos_platform.cli import app as cli
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.operators.spec import OperatorSpec

MODEL, QUESTIONS = "bundled-small-v2", 24
QUICK = ["--set", "batch_size=4", "--set", "search_questions=24", "--set", "eval_questions=24"]


def eos(*words: object) -> Result:
    done = CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "140"})
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.slow  # a search, an explanation and a comparison: 20 s of a core
def test_a_bundled_model_from_search_to_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = eos("search", "--model", MODEL, "--budget", 0.3, "--steps", 4, *QUICK, "-o", "op.json")
    assert f"eos evaluate op.json --model {MODEL}\n" in done.output
    operator = OperatorSpec.load("op.json")
    assert operator.target.model == MODEL
    assert "scenes-v2" in operator.provenance["task"]

    done = eos("evaluate", "op.json", "--model", MODEL, "--questions", QUESTIONS)
    for group in ("difficulty-1", "difficulty-2", "detail", "counting"):
        assert group in done.output
    eos("explain", "op.json", "--questions", QUESTIONS, "--pictures", 1, "--out", "told")
    assert "difficulty" not in Path("told/explain.csv").read_text()

    eos(
        *("compare", "op.json", "--model", MODEL, "--designs", "pool,random", "--questions", QUESTIONS),
        *("--pictures", 1, "--batch", 1, "--mlflow", "none", "--out", "compared"),
    )
    points = pd.read_csv("compared/points.csv").set_index("name")
    assert points.loc["unreduced", "skill:detail"] == 1.0
    assert {"skill:difficulty-1", "skill:difficulty-2"} <= set(points.columns)
    assert "detail" in Path("compared/report.md").read_text()
    assert "detail" in Path("compared/page.html").read_text()


@pytest.mark.parametrize(("model", "task"), [("bundled-qwen", "scenes-v2"), ("bundled", "scenes"), ("mine", "scenes")])
def test_studies_and_comparisons_mean_the_models_own_task(model: str, task: str) -> None:
    reported = {"name": "a", "model": model, "space": {"budget": {"choice": [0.2, 0.4]}}}
    assert StudyFile.model_validate(reported).task == task
    assert StudyFile.model_validate({**reported, "task": "scenes"}).task == "scenes"
    assert Settings(model=model).task == Settings(model=model, task=None).task == task  # type: ignore[arg-type]
    del reported["model"]
    assert StudyFile.model_validate(reported).task == Settings().task == "scenes"


def test_groups_that_share_questions_are_objectives_and_floors() -> None:
    from eos_platform.engine.schema.study_checks import check_groups
    from eos_platform.tasks.scenes_v2.task import ScenesV2

    study = StudyFile.model_validate(
        {
            "name": "a",
            "model": "bundled-qwen",
            "space": {"budget": {"choice": [0.2, 0.4]}},
            "objectives": {"accuracy/detail": "maximise", "compute_ratio": "minimise"},
            "constraints": {"accuracy": {"difficulty-3": 0.5}},
        }
    )
    check_groups(study, ScenesV2.groups, "a")
