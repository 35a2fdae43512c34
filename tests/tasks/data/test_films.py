"""Films: frames from the middles of equal parts, whatever they come from."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest
from data_files import lines

from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder as bundled
from eos_platform.models.loading.processors import load_processor
from eos_platform.tasks.data.films import frames
from eos_platform.tasks.data.inspect.sheet import GAP, HIGH, WIDE, sheet
from eos_platform.tasks.data.load import load
from eos_platform.tasks.files import Files
from eos_platform.tasks.prompts import made_by


def film(path: Path, count: int = 24, size: tuple[int, int] = (64, 48)) -> Path:
    """Frame n has a grey of 10 n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            grey = np.full((size[1], size[0], 3), min(10 * number, 250), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def greys(pictures: object) -> list[int]:
    return [round(np.asarray(one).mean() / 10) for one in pictures]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("count", "wanted"), [(4, [3, 9, 15, 21]), (1, [12]), (24, list(range(24)))])
def test_frames_are_the_middles_of_equal_parts(tmp_path: Path, count: int, wanted: list[int]) -> None:
    shown = frames(film(tmp_path / "f.mp4"), count)
    assert greys(shown) == wanted
    assert {one.size for one in shown} == {(64, 48)}


def test_a_short_film_is_shown_whole(tmp_path: Path) -> None:
    assert greys(frames(film(tmp_path / "f.mp4", 3), 8)) == [0, 1, 2]


def test_rows_of_films_are_questions_about_several_pictures(folder: Path) -> None:
    film(folder / "f.mp4")
    rows = [{"video": "f.mp4", "question": "how many?", "answer": "two", "split": "heldout"}]
    task = Files(lines(folder / "q.jsonl", rows), frames=4)
    (question,) = task.all("heldout")
    assert greys(question.opened()) == [3, 9, 15, 21]
    assert (task.loaded.rows[0].looks[0].width, task.loaded.rows[0].looks[0].height) == (64, 48)
    prompt = next(made_by(load_processor(bundled("bundled-qwen")), [question]))
    assert prompt.inputs["image_grid_thw"].shape == (4, 3)
    other = Files(folder / "q.jsonl", frames=2)
    assert other.version != task.version  # other pictures are shown


def test_films_in_shards(folder: Path) -> None:
    film(folder / "000.mp4")
    (folder / "000.json").write_text(json.dumps({"question": "q", "answer": "a"}))
    with tarfile.open(folder / "films.tar", "w") as archive:
        for name in ("000.mp4", "000.json"):
            archive.add(folder / name, name)
    (row,) = load(str(folder / "films.tar"), whole=True).rows
    assert greys(frames(row.sources[0], 2)) == [6, 18]


def test_what_is_no_film(folder: Path) -> None:
    (folder / "cut.mp4").write_bytes(film(folder / "f.mp4").read_bytes()[:600])
    (folder / "sound.mp4").write_bytes(b"")
    for name in ("cut.mp4", "sound.mp4", "none.mp4"):
        data = lines(folder / "q.jsonl", [{"video": name, "question": "q", "answer": "a"}])
        with pytest.raises(EosError, match=r"1 of 1 rows cannot be used: line 1: film") as told:
            Files(data)
        assert "Errno" not in str(told.value)


def test_a_mark_stands_in_front_of_a_films_question_or_nowhere(folder: Path) -> None:
    film(folder / "f.mp4", 4)
    asked = ("how many?", "<video>\nhow many?", "<image>\nhow many?")
    rows = [{"video": "f.mp4", "question": one, "answer": "a", "split": "heldout"} for one in asked]
    assert {one.question for one in Files(lines(folder / "q.jsonl", rows)).all("heldout")} == {"how many?"}
    for wrong, says in (("is <video> long?", "1 <image> or <video> inside"), ("<video>", "question: empty")):
        row = {"video": "f.mp4", "question": wrong, "answer": "a"}
        with pytest.raises(EosError, match=says):
            Files(lines(folder / "q.jsonl", [row]))


def test_the_sheet_shows_a_film_from_its_beginning_to_its_end(folder: Path) -> None:
    film(folder / "f.mp4")
    row = {"video": "f.mp4", "question": "q", "answer": "a", "split": "heldout"}
    page = np.asarray(sheet(Files(lines(folder / "q.jsonl", [row])).all("heldout")).convert("L"))
    middle = [round(int(page[GAP + HIGH // 2, GAP + WIDE // 8 * (2 * place + 1)]) / 10) for place in range(4)]
    assert middle == [1, 7, 13, 22]  # of frames 1, 4, ... 22
