"""A package that is none of this one's adds one of everything, one file each; real commands then use all five.

The package (``pyproject.toml`` and ``eos_example/`` beside this file) is installed by pip into a folder of its own,
which only the commands run here have on their path.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import optuna
import pytest
import yaml

HERE = Path(__file__).parent
FILES = {
    "family": "vip_llava.py",
    "task": "discs.py",
    "cost": "attention_pairs.py",
    "design": "norm_steps.py",
    "sampler": "joint_tpe.py",
}
LONGEST = 60  # lines
ON = ("--model", "model", "--task", "discs")
QUICK = {"steps": 4, "batch_size": 8, "search_questions": 32, "eval_questions": 16}
STUDY = {
    "name": "mine",
    "model": "model",
    "task": {"name": "discs", "side": 32},
    "objectives": {"accuracy/place": "maximise", "attention_pairs": "minimise"},
    "search": {"cost": "attention_pairs", **QUICK},
    "space": {"budget": {"choice": [900, 1300]}},
    "sampler": "joint-tpe",
    "constraints": {"accuracy": {"place": 0.0}, "attention_pairs": 1300},
    "trials": 2,
    "concurrent": 1,
    "final": {"questions": 16, "baselines": ["norm-steps"], "ratios": 1},
}


class Outside:
    """A folder to work in, and commands that find the example package."""

    def __init__(self, folder: Path) -> None:
        source, self.site, self.work = folder / "source", folder / "site", folder / "work"
        shutil.copytree(HERE / "eos_example", source / "eos_example", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE / "pyproject.toml", source)  # building leaves things there
        self.work.mkdir()
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
        self.env.pop("PYTHONPATH", None)
        options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
        self.run("-m", "pip", "install", *options, "--target", self.site, source)
        self.env["PYTHONPATH"] = str(self.site)
        self.run(HERE / "model_folder.py", "model")
        (self.work / "mine.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))

    def run(self, *words: object) -> str:
        """What Python says on stdout; it must succeed."""
        reported = [sys.executable, *map(str, words)]
        done = subprocess.run(reported, cwd=self.work, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{reported}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def eos(self, *words: object) -> str:
        """What a command says."""
        return self.run("-m", "eos_platform", *words)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return Outside(tmp_path_factory.mktemp("extension"))


@pytest.fixture(scope="module")
def found(outside: Outside) -> dict:
    """An operator searched on the family and the task, under the cost."""
    sets = [word for key, value in QUICK.items() if key != "steps" for word in ("--set", f"{key}={value}")]
    reported = outside.eos(
        *("search", *ON, "--cost", "attention_pairs", "--budget", 900, "--steps", QUICK["steps"], *sets),
        *("--set", "portfolio=false"),
        *("-o", "found.json"),
    )
    assert "pairs (budget 900 pairs)" in reported
    assert "eos evaluate found.json --model model --task discs" in reported
    return json.loads((outside.work / "found.json").read_text())


def test_each_is_one_file_of_at_most_sixty_lines() -> None:
    files = {path.name: len(path.read_text().splitlines()) for path in (HERE / "eos_example").glob("*.py")}
    assert set(files) == {"__init__.py", *FILES.values()}
    assert files["__init__.py"] == 1
    assert max(files.values()) <= LONGEST, files


def test_the_package_is_found_where_it_is_installed_and_nowhere_else(outside: Outside) -> None:
    lines = [line.split() for line in outside.eos("plugins").splitlines()[1:]]
    assert {line[0] for line in lines} == set(FILES)
    for kind, _, *package, at, state in lines:
        assert package == ["eos-example", "1.0"]
        assert at.startswith(f"eos_example.{FILES[kind].removesuffix('.py')}:")
        assert state == "ok"
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("eos-example")


def test_a_search_of_the_family_on_the_task_under_the_cost(found: dict) -> None:
    provenance = found["provenance"]
    assert provenance["task"] == "discs 1"
    assert provenance["cost"]["name"] == "attention_pairs"
    assert 0 < provenance["cost"]["value"] <= 900
    assert found["target"]["layers"] == 4
    assert found["target"]["grid"] == [6, 6]


def test_a_comparison_has_the_design_the_groups_and_the_cost(outside: Outside, found: dict) -> None:
    designs = ("--designs", "norm-steps", "--seeds", 0, "--questions", 16, "--pictures", 1)
    outside.eos("compare", "found.json", *ON, *designs, "--mlflow", "none", "--out", "compared")
    lines = (outside.work / "compared" / "results.jsonl").read_text().splitlines()
    records = {record["design"] or record["family"]: record for record in map(json.loads, lines)}
    assert list(records) == ["unreduced", "searched", "norm-steps"]
    assert {record["status"] for record in records.values()} == {"measured"}
    assert all(set(record["per_skill"]) == {"colour", "place"} for record in records.values())
    pairs = {name: record["costs"]["attention_pairs"] for name, record in records.items()}
    assert pairs["unreduced"] > pairs["searched"] == pytest.approx(found["provenance"]["cost"]["value"])
    assert pairs["norm-steps"] < pairs["unreduced"]
    report = (outside.work / "compared" / "report.md").read_text()
    assert "| operator | KV cache bytes | attention pairs |" in report
    assert "| operator | colour | place |" in report
    assert "eos compare found.json --model model --task discs" in report
    assert "norm-steps at" in (outside.work / "compared" / "page.html").read_text()


def test_a_study_and_its_report(outside: Outside) -> None:
    """Real Ray workers meet the package as the driver does; the store, MLflow's runs and the report name its things."""
    outside.eos("study", "run", "mine.yaml")
    runs = outside.work / "eos-runs"
    with (runs / "mine" / "points.csv").open() as stream:
        points = {row["design"] or row["family"]: row for row in csv.DictReader(stream)}
    assert {"searched", "unreduced", "norm-steps"} <= set(points)
    pairs = {name: float(row["attention_pairs"]) for name, row in points.items()}
    assert pairs["searched"] <= 1300 < pairs["unreduced"]
    assert {"skill:colour", "skill:place"} <= set(points["searched"])
    (store,) = (runs / "mine").glob("*.db")
    reported = optuna.load_study(study_name=None, storage=f"sqlite:///{store}")
    assert reported.metric_names == ["accuracy/place", "attention_pairs"]
    assert [trial.state.name for trial in reported.trials] == ["COMPLETE"] * 2
    outside.eos("report", "mine", "--out", "mine.html")
    page = (outside.work / "mine.html").read_text()
    assert "<th>attention pairs</th>" in page
    assert "<th>accuracy/place</th>" in page
    assert "norm-steps at" in page
