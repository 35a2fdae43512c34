"""Every format gives the same questions; text stays text; copies of a picture are never in two splits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_files import ANSWERS, FORMATS, ROWS, jsonl, lines, png, tarred, zipped

from eos_platform.common.errors import EosError
from eos_platform.tasks.data.load import load
from eos_platform.tasks.data.pictures import opened
from eos_platform.tasks.files import Files


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_questions(folder: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a whole name, and by one from another folder."""
    expected = load(jsonl(folder))
    data = FORMATS[form](folder)
    monkeypatch.chdir(folder.parent)
    found, relative = load(data), load(data.replace(str(folder), folder.name))
    assert not found.bad
    assert not relative.bad
    assert [row.looks for row in relative.rows] == [row.looks for row in found.rows]
    by_question = {row.features.question: row for row in found.rows}
    assert len(found.rows) == len(ANSWERS)
    for number, row in enumerate(expected.rows):
        same = by_question[f"what is {number}?"]
        assert same.features.answers == (ANSWERS[number],)
        assert (same.looks, same.split) == (row.looks, row.split)
        assert opened(same.sources[0]).tobytes() == opened(row.sources[0]).tobytes()
        assert opened(same.sources[0]).size == (20 + number, 16)


def test_a_folder_of_pictures_has_splits_in_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``imagefolder`` of ``datasets`` has them: each with a list of its own."""
    for number, split in ((0, "train"), (1, "test")):
        (folder / f"data/{split}").mkdir(parents=True)
        (folder / f"data/{split}/a.png").write_bytes(png(number + 30))
        row = {"file_name": "a.png", "question": split, "answer": "a"}
        lines(folder / f"data/{split}/metadata.jsonl", [row])
    monkeypatch.chdir(folder)
    for data, part, asked in (("data", "", ["test", "train"]), ("data", "test", ["test"]), (folder / "data", "", None)):
        found = load(str(data), part=part)
        assert not found.bad
        assert len({row.key for row in found.rows}) == len(found.rows)
        assert asked is None or [row.features.question for row in found.rows] == asked


@pytest.mark.parametrize("packed", [zipped, tarred])
def test_pictures_in_archives(folder: Path, packed: Callable[[Path], Path]) -> None:
    archive = packed(folder)
    shutil.rmtree(folder / "pictures")
    with pytest.raises(EosError, match="6 of 6 rows"):
        Files(jsonl(folder))
    task = Files(jsonl(folder), images=archive)
    assert task.loaded.rows[3].looks[0].width == 23
    assert sum(len(task.all(split)) for split in ("search", "validation", "heldout")) == 6
    lines(folder / "q.jsonl", [{**ROWS[0], "image": "pictures/6.png"}, *ROWS])
    with pytest.raises(EosError, match=r"line 1: no member 'pictures/6\.png' in .*did you mean 'pictures/"):
        Files(folder / "q.jsonl", images=archive)


def test_columns_of_other_names(folder: Path) -> None:
    rows = [{"img": row["image"], "query": row["question"], "label": row["answer"], "year": 1999} for row in ROWS]
    data = lines(folder / "o.jsonl", rows)
    task = Files(data, columns="image=img,question=query,answer=label")
    assert [row.features.answers for row in task.loaded.rows] == [(answer,) for answer in ANSWERS]
    for wrong, says in (
        ("image=img,question=qery,answer=label", r"no column 'qery'; did you mean 'query'"),
        ("imag=img", r"columns: unknown key 'imag'; did you mean 'image'"),
        ("image", r"columns: question=query,answer=label is the form"),
    ):
        with pytest.raises(EosError, match=says):
            Files(data, columns=wrong)


def test_several_pictures_and_choices(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"images": ["pictures/0.png", "pictures/1.png"], "question": "which?", "choices": ["left", "right"],
         "answer": 1},
        {"images": ["pictures/2.png", "pictures/3.png"], "question": "a <image> b <image>", "choices": ["x", "y"],
         "answer": "A"},
        {"image": "pictures/4.png", "question": "<image>\nwhat?", "choices": ["007", "7"], "answer": "7"},
    ]  # fmt: skip
    task = Files(lines(folder / "c.jsonl", rows))
    found = {
        one.plain: one
        for split in ("search", "validation", "heldout")
        for one in task.all(split)  # type: ignore[arg-type]
    }
    assert set(found) == {"which?", "a <image> b <image>", "what?"}
    assert found["which?"].answers == ("B",)
    assert [one.size for one in found["which?"].opened()] == [(20, 16), (21, 16)]
    assert found["what?"].answers == ("B",)
    assert found["what?"].question == (
        "what?\nA. 007\nB. 7\nAnswer with the option's letter from the given choices directly."
    )
    assert task.metric == "letter"
    assert task.score("(B) 7", found["what?"]) == 1.0


def test_questions_that_show_a_picture_together_share_a_split(folder: Path) -> None:
    """Pictures in chains, renamed copies, and rows that name what binds them."""
    for number in range(200):
        (folder / f"pictures/{number}.png").write_bytes(png(number // 2))
    rows: list[dict[str, Any]] = [
        {"images": [f"pictures/{n}.png", f"pictures/{n + 2}.png"], "question": "q", "answer": "a"}
        for n in range(0, 40, 2)
    ]
    rows += [{"image": f"pictures/{n}.png", "question": "q", "answer": "a"} for n in range(41, 200, 2)]
    rows += [{"image": f"pictures/{n}.png", "question": "q", "answer": "a"} for n in range(0, 200, 2)]
    rows[-1]["together"] = rows[-2]["together"] = rows[-3]["together"] = "a document"
    found = load(str(lines(folder / "many.jsonl", rows)))
    assert len({row.split for row in found.rows[:20]}) == 1
    assert len({row.split for row in found.rows[-3:]}) == 1
    where: dict[bytes, str] = {}
    for row in found.rows:
        for look in row.looks:
            assert where.setdefault(look.digest, row.split) == row.split
    assert len(set(where.values())) == 3


def test_told_splits_are_kept_and_must_agree(folder: Path) -> None:
    names = ("train", "val", "test", "search", "validation", "heldout")
    rows = [{**row, "split": name} for row, name in zip(ROWS, names, strict=True)]
    found = load(str(lines(folder / "s.jsonl", rows)))
    assert [row.split for row in found.rows] == ["search", "validation", "heldout"] * 2
    shutil.copy(folder / "pictures/0.png", folder / "pictures/copy.png")
    rows.append({**ROWS[0], "image": "pictures/copy.png", "split": "test"})
    (bad,) = load(str(lines(folder / "s.jsonl", rows))).bad
    assert "line 7: split 'heldout', but what it shows is in 'search' too (line 1)" in str(bad)


def test_adding_rows_moves_no_picture(folder: Path) -> None:
    for number in range(60):
        (folder / f"pictures/{number}.png").write_bytes(png(number))
    rows = [{"image": f"pictures/{n}.png", "question": "q", "answer": "a"} for n in range(60)]
    few = load(str(lines(folder / "few.jsonl", rows[:20])))
    many = load(str(lines(folder / "many.jsonl", rows[::-1])))
    splits = {row.key: row.split for row in many.rows}
    assert all(splits[row.key] == row.split for row in few.rows)


def test_a_stream_of_the_hub_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    saved = FORMATS["datasets folder"](folder)
    stream = datasets.load_from_disk(saved).to_iterable_dataset()
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config, streaming: {"test": stream})
    found = load("hub:somebody/something", streaming=True, part="test")
    assert [row.features.answers[0] for row in found.rows] == list(ANSWERS)
    assert opened(found.rows[2].sources[0]).size == (22, 16)
    with pytest.raises(EosError, match=r"has no part 'tset', only test"):
        load("hub:somebody/something", streaming=True, part="tset")


def test_files_that_did_not_change_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eos_platform.tasks.data import load as module

    monkeypatch.setenv("EOS_CACHE", str(folder / "cache"))
    first = load(jsonl(folder))
    looked: list[object] = []
    real = module.look
    monkeypatch.setattr(module, "look", lambda source, whole: looked.append(source) or real(source, whole))  # type: ignore[func-returns-value]
    assert load(jsonl(folder)).rows == first.rows
    assert not looked
    load(jsonl(folder), whole=True)
    assert len(looked) == 6  # until now only their heads were seen
    (folder / "pictures/0.png").write_bytes(png(99))
    assert load(jsonl(folder)).rows[0].looks[0] != first.rows[0].looks[0]
    assert len(looked) == 7
    (folder / "cache/pictures.sqlite").write_bytes(b"no database" * 100)
    assert len(load(jsonl(folder)).rows) == 6


def test_conversations_become_a_question_a_turn(folder: Path) -> None:
    turns = [
        {"from": "human", "value": "<image>\nfirst?"},
        {"from": "gpt", "value": "1"},
        {"from": "human", "value": "second?"},
        {"from": "gpt", "value": "2"},
    ]
    data = folder / "l.json"
    import json

    data.write_text(json.dumps([{"id": "x", "image": "pictures/0.png", "conversations": turns}]))
    found = load(str(data))
    assert [(row.id, row.features.question, row.features.answers) for row in found.rows] == [
        ("x", "first?", ("1",)),
        ("x.1", "second?", ("2",)),
    ]
