"""``eos data``: what was understood of data, and what a model is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from eos_platform.cli import app as cli

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks/data"))
from data_files import ROWS, lines, pictures


@pytest.fixture(autouse=True)
def _in_a_folder_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EOS_CACHE", "off")
    pictures(tmp_path)


def eos(*words: object):
    return CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "160"})


def test_check_reports_and_writes() -> None:
    cut = Path("pictures/0.png").read_bytes()[:-100]
    Path("pictures/cut.png").write_bytes(cut)
    Path("pictures/copy.png").write_bytes(Path("pictures/1.png").read_bytes())
    again = {**ROWS[1], "image": "pictures/copy.png", "answer": "three"}
    lines(Path("q.jsonl"), [*ROWS, again, "{", {**ROWS[0], "answer": 2}, {**ROWS[0], "image": "pictures/cut.png"}])
    done = eos("data", "check", "q.jsonl", "--allow-bad", "50%")
    assert done.exit_code == 0, done.output
    for said in (
        "q.jsonl: JSON lines, 10 rows, 7 usable, 3 bad",
        "6 different, 1 copies, 6 sizes from 20x16 to 25x16",
        "metric: exact",
        "note: 1 questions about the same picture come again with other answers",
        "line 8: row: not JSON",
        'line 9: answer: text is expected, not 2; write it as text: "2"',
        "line 10: picture 'cut.png' cannot be opened",
    ):
        assert said in done.output
    report = json.loads(Path("eos-data-check/report.json").read_text())
    assert sum(one["questions"] for one in report["splits"].values()) == 7
    assert len(Path("eos-data-check/bad.txt").read_text().splitlines()) == 3
    with Image.open("eos-data-check/examples.png") as picture:
        assert picture.size[0] > 1000
    done = eos("data", "check", "q.jsonl", "--allow-bad", "1%")
    assert done.exit_code == 2
    assert "3 of 10 rows cannot be used" in done.output


@pytest.mark.parametrize("model", ["bundled-qwen", "bundled-onevision"])
def test_show_needs_no_torchvision_where_only_films_would(model: str) -> None:
    lines(Path("q.jsonl"), ROWS)
    done = eos("data", "show", "q.jsonl", 1, "--model", model)
    assert done.exit_code == 0, done.output
    assert "answer span: " in done.output


def test_show_says_what_a_model_is_asked() -> None:
    lines(Path("q.jsonl"), ROWS)
    done = eos("data", "show", "q.jsonl", 2, "--model", "bundled-small")
    assert done.exit_code == 0, done.output
    assert "text: '<image>what is 1?'" in done.output
    assert "(x 144)" in done.output
    assert "= ' 2</s>'" in done.output
    assert Path("eos-data-show.png").is_file()
    done = eos("data", "show", "q.jsonl", 2, "--model", "bundled-small", "--chat", "llava-1.5")
    assert r"questions. USER: <image>\nwhat is 1? ASSISTANT:" in done.output
    done = eos("data", "show", "q.jsonl", 7, "--model", "bundled-small")
    assert done.exit_code == 2
    assert "question 7: the data has 6 that can be used" in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["q.jsonl", "--allow-bad", "2"], "--allow-bad: a share such as 0.01 or 1% is expected, not '2'"),
        (["q.jsonl", "--option", "metric=anl"], "unknown metric 'anl'; did you mean 'anls'"),
        (["q.jsonl", "--option", "frames=x"], "--option frames: a number is expected, not 'x'"),
        (["q.jsonl", "--option", "frames=0"], "frames: a whole number from 1 to 256 is expected, not 0"),
        (["q.jsonl", "--option", "streaming=yes"], "--option streaming: true or false is expected"),
        (["q.jsonl", "--option", "imges=x"], "unknown option 'imges'; did you mean 'images'"),
        (["q.jsonl", "--option", "metric"], "KEY=VALUE is expected"),
        (["q.jsonl", "--option", "data=x"], "has an option of its own, --data"),
        (["q.jsonl", "--option", "images=none.zip"], "archive of pictures not found: none.zip"),
        (["q.jsonl", "--option", "prompt=hello"], "plain, short, or a text with {question} is expected"),
        (["none.jsonl"], "questions file not found: none.jsonl"),
        (["q.jsonl", "--out", "q.jsonl"], "is not a folder"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], says: str) -> None:
    lines(Path("q.jsonl"), ROWS)
    done = eos("data", "check", *words)
    assert done.exit_code == 2
    assert says in done.output
    assert len(done.output.strip().splitlines()) == 1
