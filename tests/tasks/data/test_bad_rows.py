"""Rows and files that cannot be used: each is one line that says what, where, and often what would be right."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_files import ROWS, jsonl, lines, png

from eos_platform.common.errors import EosError
from eos_platform.tasks.data.load import load
from eos_platform.tasks.files import Files

GOOD: dict[str, Any] = ROWS[0]
CHOICES = {**GOOD, "choices": ["cat", "dog"]}
TURNS = {"image": "pictures/0.png"}
IMAGELESS = {"question": "q", "answer": "a"}


def bomb(width: int, height: int) -> bytes:
    """The head of a PNG that would unpack to any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


FILES = {
    "cut.png": png(0)[:-200],
    "bomb.png": bomb(60_000, 60_000),
    "large.png": bomb(12_000, 9_000),
    "thin.png": png(0, (1, 40)),
    "text.png": b"no picture",
    "empty.png": b"",
    "page.png": b"<html><body>404</body></html>",
}
BAD_ROWS: list[tuple[str | dict[str, Any] | list[Any] | int | None, str]] = [
    ('{"image": "a", "question": "q" "answer": "a"}', "not JSON"),
    ('{"image": "a"', "not JSON"),
    ("[1, 2]", "a JSON object is expected"),
    ('"text"', "a JSON object is expected"),
    ('{"image": "a", "image": "b", "question": "q", "answer": "a"}', "key 'image' is given twice"),
    ('{"image": "a", "question": "q", "answer": NaN}', "NaN is no number"),
    ('{"image": "a", "question": "\\ud800", "answer": "a"}', "half a surrogate pair"),
    ("[" * 100_000, "nested too deeply"),
    ({**GOOD, "img": "x"}, "unknown key 'img'"),
    ({**GOOD, "grup": "x"}, "unknown key 'grup'; did you mean 'group'"),
    ({**GOOD, "images": ["pictures/1.png"]}, "exactly one of image, images, video: has image and images"),
    (IMAGELESS, "missing key 'image'"),
    ({**IMAGELESS, "image": None}, "image: text .a path. is expected, not None"),
    ({**IMAGELESS, "image": 7}, "image: text .a path. is expected, not 7"),
    ({**IMAGELESS, "image": ""}, "image: empty"),
    ({**IMAGELESS, "images": []}, "images: a list of pictures is expected"),
    ({**IMAGELESS, "images": "pictures/0.png"}, "images: a list of pictures is expected"),
    ({**IMAGELESS, "images": ["pictures/0.png"] * 300}, "images: 300 pictures; the most is 256"),
    ({**IMAGELESS, "image_base64": "?!"}, "image_base64: not base64"),
    ({**IMAGELESS, "image_base64": "bm8="}, "cannot be opened"),
    ({**IMAGELESS, "image": {"bytes": 3}}, "image: text .a path. is expected"),
    ({**IMAGELESS, "image": "pictures/none.png"}, "'none.png'|not found"),
    ({**IMAGELESS, "image": "pictures"}, "it is a folder"),
    ({**IMAGELESS, "image": "a\0b"}, "NUL"),
    ({**IMAGELESS, "image": "x" * 5000}, "name too long|too long"),
    *[({**IMAGELESS, "image": name}, says) for name, says in (
        ("cut.png", "cannot be opened|truncated"),
        ("bomb.png", "million pixels|decompression bomb"),
        ("large.png", "108 million pixels; the most is 89"),
        ("thin.png", "is 1x40 pixels; the least is 2 a side"),
        ("text.png", "picture .* cannot be opened"),
        ("empty.png", "cannot be opened"),
        ("page.png", "cannot be opened"),
    )],
    ({"image": "pictures/0.png", "answer": "a"}, "missing key 'question'"),
    ({**GOOD, "question": "  "}, "question: empty"),
    ({**GOOD, "question": ["q"]}, "question: text is expected"),
    ({**GOOD, "question": "x" * 200_000}, "question: 200,000 characters"),
    ({**GOOD, "messages": []}, "exactly one of question, messages"),
    ({**GOOD, "question": "<image> and <image>"}, "2 <image> in the question, 1 picture"),
    ({**GOOD, "question": "<image>"}, "question: empty"),
    ({**GOOD, "answers": ["x"]}, "both 'answer' and 'answers'"),
    ({"image": "pictures/0.png", "question": "q"}, "missing key 'answer'"),
    ({**GOOD, "answer": 2}, 'answer: text is expected, not 2; write it as text: "2"'),
    ({**GOOD, "answer": 2.5}, "answer: text is expected, not 2.5"),
    ({**GOOD, "answer": True}, 'answer: text is expected, not True; write it as "yes"'),
    ({**GOOD, "answer": None}, "answer: text is expected, not None"),
    ({**GOOD, "answer": " "}, "answer: empty"),
    ({"image": "pictures/0.png", "question": "q", "answers": []}, "answers: a list of texts"),
    ({"image": "pictures/0.png", "question": "q", "answers": ["a", 2]}, "answer: text is expected, not 2"),
    ({**CHOICES, "answer": "E"}, r"answer 'E' is none of the choices \['cat', 'dog'\], nor a letter A-B"),
    ({**CHOICES, "answer": 3}, r"answer 3 is not a place in 2 choices \(0 is the first\)"),
    ({**CHOICES, "answer": -1}, "answer -1 is not a place"),
    ({**CHOICES, "answer": True}, "answer: text is expected, not True"),
    ({**GOOD, "choices": ["B", "A"], "answer": "A"}, "the letter of one choice and the text of another"),
    ({**GOOD, "choices": ["cat"]}, "choices: a list of 2 to 26 texts"),
    ({**GOOD, "choices": ["cat", "cat"]}, "choices: two of them are the same"),
    ({**GOOD, "choices": ["cat", 2]}, "choices: text is expected, not 2"),
    ({**GOOD, "split": "tset"}, "unknown split 'tset'; did you mean 'test'"),
    ({**GOOD, "id": 1.5}, "id: text is expected"),
    ({**GOOD, "group": 3}, "group: text is expected, not 3"),
    ({**TURNS, "messages": [{"role": "system", "content": "be brief"}]}, "'system' has no turn here"),
    ({**TURNS, "messages": [{"role": "user"}]}, r"messages\.0\.content: text is expected, not None"),
    ({**TURNS, "messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "a part of type 'text' or 'image'"),
    ({**TURNS, "messages": ["hello"]}, "an object with 'role' and 'content'"),
    ({**TURNS, "conversations": [{"from": "gpt", "value": "a"}]}, "'gpt' has no turn here"),
    ({"video": "text.png", "question": "q", "answer": "a"}, "film .* cannot be opened"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "says"), BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_a_bad_row_is_named_and_the_rest_is_kept(folder: Path, row: Any, says: str) -> None:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    data = lines(folder / "q.jsonl", [*ROWS[:3], row, *ROWS[3:]])
    (bad,) = load(str(data), whole=True).bad
    assert str(bad).startswith(f"{data}: line 4: ") or "..." in str(bad)
    assert re.search(says, bad.reason), bad.reason
    assert len(load(str(data), whole=True).rows) == len(ROWS)
    assert bad.kind


def test_recorded_what_each_of_more_than_forty_kinds_says(
    folder: Path, recorded: Callable[[str, dict[str, Any]], None]
) -> None:
    """All of them in one file, and what is no file of questions: one table, tests/recorded/bad-rows.json."""
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    data = lines(folder / "q.jsonl", [*(row for row, _ in BAD_ROWS), *ROWS])
    bad = load(str(data), whole=True).bad
    assert [one.place.rpartition(": ")[2] for one in bad] == [f"line {n + 1}" for n in range(len(BAD_ROWS))]
    found = {}
    for number, ((row, _), one) in enumerate(zip(BAD_ROWS, bad, strict=True), 1):
        shown = row if isinstance(row, str) else json.dumps(row)
        found[f"row {number}: {shown[:100]}{'...' if len(shown) > 100 else ''}"] = without(one.reason, folder)
    for number, (make, _) in enumerate(BAD_FILES, 1):
        with pytest.raises(EosError) as raised:
            Files(make(folder))
        found[f"file {number}"] = without(str(raised.value), folder)
    assert len(BAD_ROWS) > 40
    assert len(set(found.values())) > 60
    recorded("bad-rows", found)


def without(text: str, folder: Path) -> str:
    """A message without what is this run's own: the folder, and how the reading of a picture put it."""
    text = re.sub(r"(cannot be opened|cannot be read(?: as \w+)?): .*", r"\1: ...", text.replace(str(folder), "DATA"))
    return re.sub(r"(?:\.\.\.|/)[^' ]*/(?=[^/' ]+['\s:]|$)", "DATA/", text)


def test_ids_used_twice(folder: Path) -> None:
    rows = [{**row, "id": name} for row, name in zip(ROWS, "abcbde", strict=True)]
    (bad,) = load(str(lines(folder / "q.jsonl", rows))).bad
    assert str(bad).endswith("line 4: id 'b' was used before: line 2")


def test_special_files_are_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    rows = [*ROWS, {**GOOD, "image": "pipe.png"}, {**GOOD, "image": "/dev/zero"}]
    found = load(str(lines(folder / "q.jsonl", rows)))
    assert ["it is a pipe" in str(one) or "it is a device" in str(one) for one in found.bad] == [True, True]


def test_shares_of_bad_rows(folder: Path) -> None:
    data = lines(folder / "q.jsonl", [*ROWS, "{", {**GOOD, "answer": 3}])
    with pytest.raises(EosError, match=r"2 of 8 rows cannot be used: line 7: .*; line 8: .*--allow-bad 0\.25"):
        Files(data, allow_bad=0.2)
    assert len(Files(data, allow_bad=0.25).bad) == 2


def encoded(folder: Path, data: bytes, name: str = "q.jsonl") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def compressed_tar(folder: Path) -> str:
    with tarfile.open(folder / "a.tar", "w:gz") as archive:
        archive.add(folder / "pictures/0.png", "0.png")
    return str(folder / "a.tar")


def cut_tar(folder: Path) -> str:
    with tarfile.open(folder / "a.tar", "w") as archive:
        archive.add(folder / "pictures/0.png", "0.png")
    (folder / "a.tar").write_bytes((folder / "a.tar").read_bytes()[:700])
    return str(folder / "a.tar")


BAD_FILES: list[tuple[Callable[[Path], str], str]] = [
    (lambda folder: str(folder / "none.jsonl"), "questions file not found"),
    (lambda folder: encoded(folder, b""), "no questions"),
    (lambda folder: encoded(folder, b"\n\n \n"), "no questions"),
    (lambda folder: encoded(folder, '{"image": "a"}'.encode("utf-16")), "is text in UTF-16; save it in UTF-8"),
    (lambda folder: encoded(folder, b"\x1f\x8b123"), "is compressed; unpack it"),
    (lambda folder: encoded(folder, b"", "q.csv"), "not even a head of column names"),
    (lambda folder: encoded(folder, b"image,question,image\n", "q.csv"), "column 'image' stands twice"),
    (lambda folder: encoded(folder, b"{}", "q.json"), "a JSON list of questions is expected"),
    (lambda folder: encoded(folder, b"[", "q.json"), "not JSON"),
    (lambda folder: encoded(folder, b"no parquet", "q.parquet"), "cannot be read as Parquet"),
    (lambda folder: encoded(folder, b"x", "q.xlsx"), "data of this kind is not known"),
    (lambda folder: encoded(folder, b"no tar", "q.tar"), "cannot be read"),
    (compressed_tar, "is compressed, so its pictures cannot be reached one by one"),
    (cut_tar, "cannot be read|ends inside"),
    (lambda folder: str(folder / "pictures"), "holds no data"),
    (lambda folder: "/dev/null", "it is a device"),
    (lambda folder: str(folder / "s-{0..99999999}.tar"), "more than 100,000 shards"),
]


@pytest.mark.parametrize(("make", "says"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_bad_files(folder: Path, make: Callable[[Path], str], says: str) -> None:
    with pytest.raises(EosError, match=says):
        Files(make(folder))


def test_one_line_that_is_no_text_is_bad_alone(folder: Path) -> None:
    good = [json.dumps(row).encode() for row in ROWS]
    data = encoded(folder, b"\xef\xbb\xbf" + b"\r\n".join([*good[:2], b'{"question": "caf\xe9"}', *good[2:]]))
    found = load(data)
    assert len(found.rows) == 6
    assert "line 3: not text in UTF-8 (byte 0xe9 at column 18)" in str(found.bad[0])


def test_rows_of_tables(folder: Path) -> None:
    text = 'image,question,answers\npictures/0.png,"two\nlines, ""q""",2|two\npictures/1.png,q\npictures/2.png,q,007\n'
    found = load(encoded(folder, text.encode(), "q.csv"))
    assert [(row.features.question, row.features.answers) for row in found.rows] == [
        ('two\nlines, "q"', ("2", "two")),
        ("q", ("007",)),
    ]
    assert "line 4: 2 cells under 3 columns" in str(found.bad[0])


def test_an_endless_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eos_platform.tasks.data.readers import text

    monkeypatch.setattr(text, "LONGEST_LINE", 1 << 16)
    good = [json.dumps(row).encode() for row in ROWS]
    found = load(encoded(folder, b"\n".join([good[0], b"[" + b"1," * (1 << 17), *good[1:]])))
    assert len(found.rows) == 6
    assert "line 2: more than 0 MiB in one line" in str(found.bad[0])


def test_archives_cannot_reach_out_or_unpack_to_anything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eos_platform.tasks.data import media

    monkeypatch.setattr(media, "LARGEST_PICTURE", 1 << 20)
    (folder / "secret.png").write_bytes(png(5))
    with zipfile.ZipFile(folder / "evil.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pictures/0.png", png(0))
        archive.writestr("../secret.png", png(1))
        archive.writestr("zeros.png", bytes(4 << 20))
    rows: list[dict[str, Any]] = [
        GOOD,
        {**GOOD, "image": "../secret.png"},
        {**GOOD, "image": str(folder / "secret.png")},
        {**GOOD, "image": "zeros.png"},
    ]
    found = load(str(lines(folder / "q.jsonl", rows)), images=folder / "evil.zip")
    assert len(found.rows) == 2  # a member of such a name is a member, and nothing is written anywhere
    assert found.rows[1].looks != load(jsonl(folder)).rows[5].looks
    assert "no member" in str(found.bad[0])
    assert "zeros.png would unpack to 4 MiB" in str(found.bad[1])
    before = sorted(path.name for path in folder.parent.iterdir())
    assert "secret.png" not in before


def test_links_in_tars_are_no_pictures(folder: Path) -> None:
    with tarfile.open(folder / "l.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        data = json.dumps({"question": "q", "answer": "a"}).encode()
        member = tarfile.TarInfo("a.json")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    with pytest.raises(EosError, match="missing key 'image'"):
        Files(folder / "l.tar")
