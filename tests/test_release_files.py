"""Files of the last release: they load, go on, and are written back under today's names only."""

import hashlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from eos_platform.analysis.comparison.store import read_header, read_records
from eos_platform.cli.app import app
from eos_platform.common import former_names, strict_json
from eos_platform.engine.schema import study_file
from eos_platform.engine.status import status_of
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.strategy.searcher import StudySearcher
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.search.checkpoint import FILE, Progress, load_state, save_state
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import Parameters, new_optimiser

RELEASE = Path(__file__).parent / "release"
FORMER = (*former_names.SEARCH.fields, *former_names.SEARCH.values.get("selector", ()), *former_names.SCHEDULER.fields)


def former_in(text: str) -> list[str]:
    """Former names that stand in a text as keys or words of their own."""
    return [name for name in FORMER if re.search(rf"(?<![\w-])[\"']?{name}[\"']?\s*(:|=|,|$)", text, re.MULTILINE)]


def former(name: str, table: former_names.FormerNames) -> str:
    """The name that the release has for a field."""
    return next((old for old, new in table.fields.items() if new == name), name)


def test_an_operator(tmp_path):
    path = RELEASE / "operator.json"
    operator = OperatorSpec.load(path)
    assert [site.selector for site in operator.sites] == ["diverse_topk", "score"]
    assert operator.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    settings = SearchConfig.of(operator.provenance["search"])
    assert (settings.selector, settings.steering_rank, settings.budget_warm_up, settings.size_bias) == (
        "diverse_topk",
        8,
        2.5,
        True,
    )
    written = operator.save(tmp_path / "operator.json").read_text()
    assert strict_json.loads(written)["schema_version"] == 2
    assert not former_in(written)
    again = OperatorSpec.load(tmp_path / "operator.json")
    assert again == operator
    assert again.fingerprint == operator.fingerprint


def test_a_study_file():
    study = study_file.load(RELEASE / "study.yaml")
    assert study.space["selector"].choice == ("diverse_topk", "score")
    assert study.space["budget_warm_up"].when == {"selector": ("diverse_topk",)}
    assert study.search["size_bias"] is True
    written = study.to_yaml()
    assert not former_in(written)
    assert study_file.StudyFile.of(study_file.parse(written, "written")) == study


def test_overrides_of_a_study_file_under_either_name():
    for given in ("size_bias", former("size_bias", former_names.SEARCH)):
        study = study_file.load(RELEASE / "study.yaml", [f"search.{given}=false"])
        assert study.search["size_bias"] is False
    for given in ("steering_rank", former("steering_rank", former_names.SEARCH)):
        study = study_file.load(RELEASE / "study.yaml", [f"space.{given}={{choice: [1, 2]}}"])
        assert study.space["steering_rank"].choice == (1, 2)


@pytest.fixture
def folder(tmp_path):
    """The release's store of its study, where this version looks for it."""
    shutil.copy(RELEASE / "study.yaml", tmp_path)
    run_dir = run_dir_of(study_file.load(tmp_path / "study.yaml"), tmp_path / "runs")
    run_dir.prepare()
    with sqlite3.connect(run_dir.path / "optuna.db") as database:
        database.executescript((RELEASE / "optuna.sql").read_text())
    database.close()
    return run_dir


def test_a_store_is_read_as_it_is(folder):
    before = (folder.path / "optuna.db").read_bytes()
    with store.open_store(folder, create=False) as reported:
        status = status_of(folder.study, reported)
    assert status.trials["steering_rank"].tolist() == [4, 6, 8, 0, 5]
    assert status.trials["selector"].tolist() == ["diverse_topk", "score", "diverse_topk", "score", "diverse_topk"]
    assert (folder.path / "optuna.db").read_bytes() == before


def test_a_store_goes_on_under_todays_names(folder):
    for _ in range(2):  # the second time there is nothing to rename
        with store.open_store(folder, create=True) as reported:
            store.bring_up_to_date(reported)
            store.requeue_lost_trials(reported)
            assert reported.user_attrs[store.IDENTITY] == folder.study.identity()
            assert reported.user_attrs[store.DIGEST] == store.digest(folder.study.identity())
            first = reported.get_trials(deepcopy=False)[0]
            assert first.params.keys() == {"budget", "selector", "steering_rank", "budget_warm_up"}
            assert first.params["selector"] == "diverse_topk"
    with store.open_store(folder, create=True) as reported:
        searcher = StudySearcher(reported, folder.study.space, folder.study.search)
        config = searcher.suggest("queued by the release")
        assert SearchConfig.of(config["search"]).steering_rank == 5
        assert SearchConfig.of(config["search"]).budget_warm_up == 2.5
    with sqlite3.connect(folder.path / "optuna.db") as database:
        names = {name for (name,) in database.execute("SELECT param_name FROM trial_params")}
    database.close()
    assert not names & set(FORMER)


def test_the_state_of_a_search(tmp_path):
    with safe_open(RELEASE / "search.safetensors", framework="pt") as saved:
        written, header = {name: saved.get_tensor(name) for name in saved.keys()}, saved.metadata()  # noqa: SIM118
    config = SearchConfig.of(strict_json.loads(header["config"]))
    parameters = Parameters(config, Target(layers=6, grid=(12, 12)), 128)
    optimiser = new_optimiser(parameters, config)
    shutil.copy(RELEASE / "search.safetensors", tmp_path / FILE)
    progress, best = load_state(tmp_path, config, header["workload"], parameters, optimiser)
    assert isinstance(progress, Progress)
    assert progress.step == config.steps == 20
    assert torch.equal(
        parameters.direction_delta, written[f"parameter.{former('direction_delta', former_names.PARAMETERS)}"]
    )
    assert torch.equal(best["question_proj"], written[f"best.{former('question_proj', former_names.PARAMETERS)}"])
    (tmp_path / FILE).unlink()
    save_state(tmp_path, config, header["workload"], parameters, optimiser, progress, best)
    with safe_open(tmp_path / FILE, framework="pt") as saved:
        assert not former_in(saved.metadata()["config"])
        assert {former_names.current_tensor(name) for name in written} == set(saved.keys())


def test_a_comparison_is_reported_as_the_release_reported_it(tmp_path, monkeypatch):
    """Byte for byte; ``page.html`` has figures of today's."""
    monkeypatch.chdir(tmp_path)
    Path("cmp").mkdir()
    for name in ("comparison.json", "results.jsonl"):
        shutil.copy(RELEASE / "comparison" / name, "cmp")
    done = CliRunner().invoke(app, ["compare", "--report-only", "--out", "cmp"])
    assert done.exit_code == 0, done.output
    for name in ("report.md", "points.csv", "differences.csv"):
        assert Path("cmp", name).read_bytes() == (RELEASE / "comparison" / name).read_bytes(), name


@pytest.mark.slow  # two minutes of a core
def test_searches_and_deployed_operators_are_those_of_the_release():
    done = subprocess.run([sys.executable, str(RELEASE / "unchanged.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_comparison(tmp_path):
    for name in ("comparison.json", "results.jsonl"):
        shutil.copy(RELEASE / name, tmp_path)
    assert read_header(tmp_path)["samples"] > 0
    searched = read_records(tmp_path)[-1]
    assert OperatorSpec.of(searched["operator"]).sites[0].selector == "diverse_topk"
