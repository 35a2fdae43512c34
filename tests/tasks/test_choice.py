"""Which task is meant: short and long forms, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eos_platform.common.errors import EosError
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.registries import registries
from eos_platform.tasks.choice import checked, from_text, open_task, options_of, text_of, with_absolute_paths
from eos_platform.tasks.registry import TASKS


def test_normal_forms() -> None:
    files = {"name": "files", "data": "q.jsonl"}
    assert checked("scenes") == checked({"name": "scenes"}) == checked({"name": "scenes", "data": None}) == "scenes"
    assert checked({"name": "files", "data": Path("q.jsonl"), "allow_bad": None}) == files
    for one in ("scenes", files):
        assert from_text(text_of(one)) == one
    assert options_of("scenes") == []
    assert options_of({**files, "allow_bad": 0.1}) == ["--task", "files", "--data", "q.jsonl", "--allow-bad", "0.1"]
    assert from_text("{broken") == "{broken"


def test_paths_are_told_to_processes_that_stand_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").touch()
    assert with_absolute_paths({"name": "files", "data": "q.jsonl"}) == {
        "name": "files",
        "data": str(tmp_path / "q.jsonl"),
    }
    assert with_absolute_paths("scenes") == "scenes"


WRONG: list[tuple[Any, str]] = [
    ("scens", "unknown task 'scens'; did you mean 'scenes'"),
    ("files", "task 'files' needs 'data'"),
    ({"name": "fles", "data": "x"}, "unknown task 'fles'; did you mean 'files'"),
    ({"name": "files", "dat": "x"}, "task 'files': unknown option 'dat'; did you mean 'data'"),
    ({"name": "scenes", "data": "x"}, "task 'scenes': unknown option 'data'; it has no options"),
    ({"data": "x"}, "'name' must be that of a task; known: .*files, .*scenes"),
    ({"name": 3}, "'name' must be that of a task"),
    (3, "a name, or a mapping"),
    (None, "a name, or a mapping"),
    ({"name": "files", "data": "a\x1bb"}, "control character"),
]


@pytest.mark.parametrize(("task", "message"), WRONG)
def test_wrong_choices_are_one_line_wherever_a_task_is_named(task: Any, message: str) -> None:
    with pytest.raises(EosError, match=message):
        checked(task)
    values = {"name": "s", "space": {"budget": {"choice": [0.2, 0.3]}}, "task": task}
    with pytest.raises(EosError, match=message) as refused:
        StudyFile.of(values)
    assert str(refused.value).startswith("study: task: ")


def test_a_study_keeps_the_form_it_was_given() -> None:
    values = {"name": "s", "space": {"budget": {"choice": [0.2, 0.3]}}}
    short = StudyFile.of({**values, "task": "scenes"})
    assert short == StudyFile.of(values) == StudyFile.of({**values, "task": {"name": "scenes"}})
    assert short.identity()["task"] == "scenes"
    assert "task" not in short.to_yaml()
    files = StudyFile.of({**values, "task": {"name": "files", "data": "q.jsonl"}})
    assert files.task == files.identity()["task"] == {"name": "files", "data": "q.jsonl"}
    assert "task: {name: files, data: q.jsonl}" in files.to_yaml() or "data: q.jsonl" in files.to_yaml()


def test_tasks_of_other_packages() -> None:
    class Mine:
        name, version, groups = "mine", "1", ("all",)

        def examples(self, split: str, count: int) -> list[Any]:
            return []

        def score(self, output: str, example: Any) -> float:
            return 0.5

    made = Mine()
    try:
        for thing in (Mine, made, lambda: made):
            TASKS.register("mine", TASKS._check(thing))
            assert isinstance(open_task("mine"), Mine)
        assert open_task(made) is made
        with pytest.raises(TypeError, match="expected a task"):
            TASKS._check(3)
    finally:
        TASKS._built_in.pop("mine", None)
    assert TASKS in registries()
