"""Questions of the user's own: read strictly, split by what pictures hold, judged but for capitals and spaces."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from task_folders import questions_file

from eos_platform.common.errors import EosError
from eos_platform.protocols import SPLITS, Example, Task
from eos_platform.tasks.files import Files, split_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return questions_file(tmp_path)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_splits_share_no_picture(data: Path) -> None:
    rows = rows_of(data)
    for number in range(40):  # a copy of every picture under another name, asked about last
        copy = f"pictures/copy-{number}.png"
        shutil.copy(data.parent / rows[2 * number]["image"], data.parent / copy)
        rows.append({"image": copy, "question": "w3", "answer": "w4"})
    task = Files(write(data, *map(json.dumps, rows)))
    assert isinstance(task, Task)
    keys = {split: {one.key for one in task.examples(split, 1000)} for split in SPLITS}
    assert sum(map(len, keys.values())) == 40
    assert not keys["search"] & keys["validation"]
    assert not (keys["search"] | keys["validation"]) & keys["heldout"]
    assert sum(len(task.examples(split, 1000)) for split in SPLITS) == 120
    assert task.groups == ("odd", "even", "all")
    assert len(task.examples("search", 7)) == 7
    assert task.examples("search", 3)[0].opened().size == (16, 16)


def test_shares_of_many_pictures() -> None:
    found = [split_of(number.to_bytes(8, "big") + bytes(24)) for number in range(0, 2**64, 2**64 // 1000)]
    counts = {split: found.count(split) / len(found) for split in SPLITS}
    assert counts == pytest.approx({"search": 0.7, "validation": 0.15, "heldout": 0.15}, abs=0.01)


def test_other_questions_are_another_version(data: Path) -> None:
    before = Files(data).version
    assert Files(data).version == before
    rows = rows_of(data)
    rows[0]["answer"] = "w8"
    assert Files(write(data, *map(json.dumps, rows))).version != before


@pytest.mark.parametrize(
    ("output", "worth"), [("two cats", 1.0), (" Two\n  CATS ", 1.0), ("2", 1.0), ("two", 0.0), ("", 0.0), ("22", 0.0)]
)
def test_scores(data: Path, output: str, worth: float) -> None:
    assert Files(data).score(output, Example(None, "?", ("two cats", "2"))) == worth


def a_folder(path: Path) -> str:
    (path / "folder").mkdir()
    return json.dumps({"image": "folder", "question": "w", "answer": "w"})


def a_pipe(path: Path) -> str:
    os.mkfifo(path / "pipe")
    return json.dumps({"image": "pipe", "question": "w", "answer": "w"})


def no_picture(path: Path) -> str:
    (path / "text.png").write_text("no picture")
    return json.dumps({"image": "text.png", "question": "w", "answer": "w"})


GOOD = {"image": "pictures/0.png", "question": "w", "answer": "w"}
BAD: list[tuple[str | Callable[[Path], str], str]] = [
    ("[1]", r"a JSON object is expected"),
    ("{'image': 1}", r"not JSON"),
    ('{"image": "a", "image": "b", "question": "w", "answer": "w"}', r"'image'"),
    (json.dumps({**GOOD, "answer": 2}), r"answer: text is expected, not 2"),
    (json.dumps({**GOOD, "answer": None}), r"answer: text is expected, not None"),
    (json.dumps({**GOOD, "answer": " "}), r"answer: empty"),
    (json.dumps({**GOOD, "question": True}), r"question: text is expected, not True"),
    (json.dumps({**GOOD, "answers": ["w"]}), r"both 'answer' and 'answers'"),
    (json.dumps({"image": "pictures/0.png", "question": "w"}), r"missing key 'answer'"),
    (json.dumps({"image": "pictures/0.png", "question": "w", "answers": []}), r"answers: a list of texts"),
    (json.dumps({"image": "pictures/0.png", "question": "w", "answers": "w"}), r"answers: a list of texts"),
    (json.dumps({"question": "w", "answer": "w"}), r"missing key 'image'"),
    (json.dumps({**GOOD, "groop": "odd"}), r"unknown key 'groop'; did you mean 'group'"),
    (json.dumps({**GOOD, "image": "pictures/none.png"}), r"not found"),
    (json.dumps({**GOOD, "image": "a\0b"}), r"NUL"),
    (a_folder, r"it is a folder"),
    (a_pipe, r"it is a pipe"),
    (no_picture, r"cannot be opened"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_rows_are_named_and_may_be_left_out(data: Path, bad: str | Callable[[Path], str], message: str) -> None:
    lines = data.read_text().splitlines()
    lines.insert(3, bad if isinstance(bad, str) else bad(data.parent))
    write(data, *lines)
    with pytest.raises(EosError, match=rf"1 of 81 rows cannot be used: line 4: .*{message}.*--allow-bad 0\.013"):
        Files(data)
    task = Files(data, allow_bad=0.013)
    assert len(task.bad) == 1
    assert task.bad[0].startswith(f"{data}: line 4: ") or "..." in task.bad[0]
    assert sum(len(task.examples(split, 1000)) for split in SPLITS) == 80


def test_what_is_no_data_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(EosError, match="questions file not found"):
        Files(tmp_path / "none.jsonl")
    with pytest.raises(EosError, match="holds no data"):
        Files(tmp_path / "pictures")
    with pytest.raises(EosError, match="no questions"):
        Files(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(EosError, match="allow_bad: a share from 0 to 1"):
        Files(data, allow_bad=2)
    with pytest.raises(EosError, match="data: the path"):
        Files(3)  # type: ignore[arg-type]
    few = Files(write(tmp_path / "few.jsonl", json.dumps(GOOD)))
    held = split_of(hashlib.sha256((tmp_path / "pictures/0.png").read_bytes()).digest())
    empty = next(split for split in SPLITS if split != held)
    assert len(few.examples(held, 5)) == 1
    with pytest.raises(EosError, match=f"none of its 1 pictures belongs to the split '{empty}'"):
        few.examples(empty, 5)
    with pytest.raises(EosError, match="unknown split 'test'"):
        few.examples("test", 5)  # type: ignore[arg-type]


def test_a_picture_that_is_gone_is_told_when_it_is_wanted(data: Path) -> None:
    first = Files(data).examples("search", 1)[0]
    shutil.rmtree(data.parent / "pictures")
    with pytest.raises(EosError, match="picture not found"):
        first.opened()
