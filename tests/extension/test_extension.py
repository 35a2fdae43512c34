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


# every command after another, in one process: starting each anew takes longer than most of what they do
COMMANDS = """
import json, sys
from model_folder import save
from eos_platform.cli import main

save("model")
for name, words in json.loads(sys.argv[1]).items():
    with open(name + ".txt", "w") as sys.stdout:
        sys.argv[1:] = words
        try:
            main()
        except SystemExit as end:
            if end.code:
                sys.exit(f"{name}: {end.code}")
"""
SEARCHED = [word for key, value in QUICK.items() if key != "steps" for word in ("--set", f"{key}={value}")]
WORDS = {
    "plugins": ["plugins"],
    "search": [
        *("search", *ON, "--cost", "attention_pairs", "--budget", "900", "--steps", "4", *SEARCHED),
        *("--set", "portfolio=false", "-o", "found.json"),
    ],
    "compare": [
        *("compare", "found.json", *ON, "--designs", "norm-steps", "--seeds", "0", "--questions", "16"),
        *("--pictures", "1", "--mlflow", "none", "--out", "compared"),
    ],
    "study": ["study", "run", "mine.yaml"],
    "status": ["study", "status", "mine"],
    "list": ["study", "list"],
    "again": ["study", "resume", "mine"],
    "report": ["report", "mine", "--out", "mine.html"],
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command was run, by a process that finds the example package."""
    folder = tmp_path_factory.mktemp("extension")
    source, site, work = folder / "source", folder / "site", folder / "work"
    shutil.copytree(HERE / "eos_example", source / "eos_example", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "pyproject.toml", source)  # building leaves things there
    work.mkdir()
    shutil.copy(HERE / "model_folder.py", work)
    (work / "mine.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    env.pop("PYTHONPATH", None)
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(work, env, "-m", "pip", "install", *options, "--target", site, source)
    env["PYTHONPATH"] = str(site)
    run(work, env, "-c", COMMANDS, json.dumps(WORDS))
    return work


def run(work: Path, env: dict[str, str], *words: object) -> None:
    """Python, which must succeed."""
    reported = [sys.executable, *map(str, words)]
    done = subprocess.run(reported, cwd=work, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{reported}\n{done.stdout}\n{done.stderr}"


def test_each_is_one_file_of_at_most_sixty_lines() -> None:
    files = {path.name: len(path.read_text().splitlines()) for path in (HERE / "eos_example").glob("*.py")}
    assert set(files) == {"__init__.py", *FILES.values()}
    assert files["__init__.py"] == 1
    assert max(files.values()) <= LONGEST, files


def test_the_package_is_found_where_it_is_installed_and_nowhere_else(work: Path) -> None:
    lines = [line.split() for line in (work / "plugins.txt").read_text().splitlines()[1:]]
    assert {line[0] for line in lines} == set(FILES)
    for kind, _, *package, at, state in lines:
        assert package == ["eos-example", "1.0"]
        assert at.startswith(f"eos_example.{FILES[kind].removesuffix('.py')}:")
        assert state == "ok"
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("eos-example")


def test_a_search_of_the_family_on_the_task_under_the_cost(work: Path) -> None:
    reported = (work / "search.txt").read_text()
    assert "pairs (budget 900 pairs)" in reported
    assert "eos evaluate found.json --model model --task discs" in reported
    found = json.loads((work / "found.json").read_text())
    provenance = found["provenance"]
    assert provenance["task"] == "discs 1"
    assert provenance["cost"]["name"] == "attention_pairs"
    assert 0 < provenance["cost"]["value"] <= 900
    assert found["target"]["layers"] == 4
    assert found["target"]["grid"] == [6, 6]


def test_a_comparison_has_the_design_the_groups_and_the_cost(work: Path) -> None:
    found = json.loads((work / "found.json").read_text())
    lines = (work / "compared" / "results.jsonl").read_text().splitlines()
    records = {record["design"] or record["family"]: record for record in map(json.loads, lines)}
    assert list(records) == ["unreduced", "searched", "norm-steps"]
    assert {record["status"] for record in records.values()} == {"measured"}
    assert all(set(record["per_skill"]) == {"colour", "place"} for record in records.values())
    pairs = {name: record["costs"]["attention_pairs"] for name, record in records.items()}
    assert pairs["unreduced"] > pairs["searched"] == pytest.approx(found["provenance"]["cost"]["value"])
    assert pairs["norm-steps"] < pairs["unreduced"]
    report = (work / "compared" / "report.md").read_text()
    assert "| operator | KV cache bytes | attention pairs |" in report
    assert "| operator | colour | place |" in report
    assert "eos compare found.json --model model --task discs" in report
    assert "norm-steps at" in (work / "compared" / "page.html").read_text()


def test_a_study_and_its_report(work: Path) -> None:
    """Real Ray workers meet the package as the driver does; the store, MLflow's runs and the report name its things."""
    told = {name: (work / f"{name}.txt").read_text() for name in ("study", "status", "list", "again")}
    for words in ("[2/2] trial", "mine found a front of ", "its champion", "eos-runs/mine/points.csv"):
        assert words in told["study"], words
    assert "mine: 2 of 2 trials, finished" in told["status"]
    assert "2 of 2  finished" in told["list"]
    assert "finished earlier" in told["again"]
    runs = work / "eos-runs"
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
    page = (work / "mine.html").read_text()
    assert "<th>attention pairs</th>" in page
    assert "<th>accuracy/place</th>" in page
    assert "norm-steps at" in page
