"""A task's questions as files, searches on them, and what is made of the numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[3] / "tasks"))
from task_folders import model_folder, questions_file

from eos_platform.analysis.experiments.own_data import rows as many
from eos_platform.analysis.experiments.own_data.distillation import main, table
from eos_platform.analysis.experiments.own_data.export import export
from eos_platform.analysis.experiments.own_data.searches import SIZES, measure, of_bundled
from eos_platform.common.errors import EosError
from eos_platform.tasks.files import Files
from eos_platform.tasks.scenes.task import Scenes

QUICK = {"budget": 0.5, "steps": 4, "batch_size": 4, "portfolio": False, "search_questions": 16, "eval_questions": 8}
ONE_SIZE = {"bundled-small", "bundled-small-v2", "bundled-gemma"}  # families that resize every picture to one grid


def test_exported_questions_are_the_tasks_own(tmp_path: Path) -> None:
    task = Scenes().of_grid(12)
    data = export(task, tmp_path, {"search": 12, "validation": 4, "heldout": 4}, SIZES)
    files = Files(data)
    for split, count in (("search", 12), ("validation", 4), ("heldout", 4)):
        own, read = task.examples(split, count), files.all(split)  # type: ignore[arg-type]
        assert [(one.question, one.answers, one.group) for one in own] == [
            (one.question, one.answers, one.group) for one in read
        ]
    sizes = {one.opened().size for one in files.all("search")}
    assert 1 < len(sizes) <= len(SIZES)
    assert not files.bad
    none = Files(export(task, tmp_path / "none", {"search": 3, "validation": 1}, answers=False))
    assert none.distils


def test_what_is_lost_is_paired_over_questions() -> None:
    """40 questions, two seeds: without answers one seed gets two fewer, one in forty on the mean of both."""
    settings = {"budget": 0.2, "steps": 9}
    right = np.ones(40)
    fewer = np.concatenate([np.zeros(2), np.ones(38)])
    found = [
        ("unreduced", 0, right),
        ("with", 0, right),
        ("without", 0, fewer),
        ("with", 1, right),
        ("without", 1, right),
    ]
    facts = {"model": "m", "settings": settings}
    rows = [
        {**facts, "way": way, "seed": seed, "accuracy": float(scores.mean()), "scores": scores.tolist()}
        for way, seed, scores in found
    ]
    line = table(rows).splitlines()[-1]
    assert "| m | 40 | 0.2 | 9 | 2 | 100.0 | 100.0 (100.0, 100.0) | 97.5 (95.0, 100.0) | +2.5 (+" in line
    assert table(rows[:2]).count("\n") == 1  # no pair, no line


def test_only_bundled_models_have_a_task_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(EosError, match="--model: a bundled model is expected"):
        main(["--model", "no-such", "--out", str(tmp_path / "d.jsonl")])


def test_many_rows_are_drawn_once(tmp_path: Path) -> None:
    data = many.draw(tmp_path, 30, 9)
    before = data.read_text()
    assert many.draw(tmp_path, 50, 9).read_text() == before
    rows = [json.loads(line) for line in before.splitlines()]
    assert len(rows) == 30
    assert len({row["image"] for row in rows}) == 9
    task = Files(data)
    assert {(look.width, look.height) for row in task.loaded.rows for look in row.looks} == set(many.SIZES)


@pytest.mark.slow  # a process of its own imports everything
def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(EosError, match="it: data check none failed"):
        many.spent("it", ["data", "check", "none"], tmp_path / "cache")


@pytest.mark.slow  # six models are searched on
@pytest.mark.parametrize(
    "model",
    ["bundled-small", "bundled-small-v2", "bundled-qwen", "bundled-gemma", "bundled-smolvlm", "bundled-onevision"],
)
def test_a_search_on_pictures_of_several_sizes_of_each_bundled_model(model: str) -> None:
    row = of_bundled(model, QUICK, 8)
    assert row["sizes"] == len(SIZES)
    assert (" .. " in row["visual tokens"]) == (model not in ONE_SIZE)
    assert row["ratio"] <= 0.5
    assert row["questions"] == 8


@pytest.mark.slow  # two models are searched on
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
@pytest.mark.parametrize("family", ["PaliGemma", "Gemma 3"])
def test_a_search_on_pictures_of_several_sizes_of_other_families(family: str, tmp_path: Path) -> None:
    data = questions_file(tmp_path, 40)
    for number in range(0, 40, 2):
        place = tmp_path / f"pictures/{number}.png"
        with Image.open(place) as picture:
            larger = picture.resize((24, 12 + number % 4))
        larger.save(place)
    row = measure(str(model_folder(tmp_path / "model", family)), str(data), QUICK, 8)
    assert row["sizes"] == 3
    assert row["ratio"] <= 0.5
