"""Every benchmark on files in its official layout: prompts word for word, scores worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from layouts import OFFICIAL, images, picture, put, table

from eos_platform.common.errors import EosError
from eos_platform.protocols import Task
from eos_platform.tasks.benchmarks.base import Benchmark
from eos_platform.tasks.choice import open_task
from eos_platform.tasks.registry import BENCHMARKS

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
WORD = "\nAnswer the question with a single word."

# name: first prompt, what is said to each question, scores of each, headline
CASES: dict[str, tuple[str, list[str], list[float], float]] = {
    # random: yes yes no no -> tp 1, fp 1, fn 1, tn 1: F1 1/2; popular all right: 1; adversarial always yes: 2/3
    "pope": ("Is there a 0?" + SHORT,
             ["Yes, there is.", "Well. no", "No.", "It is not, no"] + ["Yes", "no", "yes", "No"] + ["maybe"] * 4,
             [1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0], (1 / 2 + 1 + 2 / 3) / 3),
    "gqa": ("What is it?" + SHORT, ["Dog.", "no", "the left"], [1, 1, 0], 2 / 3),
    "textvqa": ("what does the STOP sign say?" + SHORT, ["Stop.", "mcdonald 's"], [1, 0.6], 0.8),
    # ten golds alike are not read: "Yes" is wrong there; two of "2" and one "two", read as 2: 3 of 10, .9; cased
    "vqav2": ("Q0?" + SHORT, ["Yes", "Two", "red car"], [0, 0.9, 0], 0.3),
    "scienceqa": ("Which?\nA. x\nB. y\nC. z" + LETTER, ["The answer is B.", "A. x"], [1, 1], 1.0),
    # existence: 3 of 4 right and one picture of two: 75 + 50; OCR all: 200; cognition is another number
    "mme": ("Is it 0?" + SHORT, ["yes", "no", "Yes, it is", "yes"] + ["Yes", "Not so"] * 2 + ["?"] * 4,
            [1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0], 325.0),
    # the circle of question 0 has one of two right: it does not count
    "mmbench": ("Which?\nA. cat\nB. dog" + LETTER, ["A", "D", "A"], [1, 1, 0], 0.5),
    "mmstar": ("Q0\nOptions: A: x, B: y, C: z, D: w" + LETTER[:-1], ["A", "C", "C."], [1, 0, 1], 0.75),
    "seed": ("How many?\nA. 1\nB. 2\nC. 3\nD. 4" + LETTER, ["(B)", "B"], [1, 0], 0.5),
    "ai2d": ("Which is a root?\nA. a\nB. b\nC. c\nD. d" + LETTER, ["C", "b"], [1, 0], 0.5),
    "chartqa": ("How much?" + WORD, ["104", "blue.", "2011"], [1, 0, 1], 0.75),
    "docvqa": ("Date?" + SHORT, ["1/8/93", "Phillip"], [1, 1 - 1 / 7], (1 + 6 / 7) / 2),
    "infovqa": ("Share?" + SHORT, ["12"], [2 / 3], 2 / 3),
    "ocrbench": ("What is written?", ["It says: Centre", "x^2+y"], [1, 0], 1.0),
    "realworldqa": ("Left? A. yes B. no\nPlease answer directly with only the letter.", ["A.", "3."], [1, 1], 1.0),
}  # fmt: skip


def opened(tmp_path: Path, name: str, **options: Any) -> Benchmark:
    OFFICIAL[name](tmp_path)
    found = open_task({"name": name, "root": str(tmp_path), **options})
    assert isinstance(found, Benchmark)
    return found


def test_all_are_here() -> None:
    assert {one.name for one in BENCHMARKS} == set(OFFICIAL) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_official_files_are_asked_and_scored_as_they_should(tmp_path: Path, name: str) -> None:
    prompt, said, scores, headline = CASES[name]
    task = opened(tmp_path, name)
    assert isinstance(task, Task)
    if name == "mmbench":  # the row whose picture is another row's comes after these
        assert [one.id for one in task.all] == ["0", "1", "1000000"]
    assert task.all[0].question == prompt
    assert len({one.id for one in task.all}) == len(task.all) == len(said)
    assert all(one.opened().size == (12, 12) for one in task.all)
    found = [task.score(text, one) for text, one in zip(said, task.all, strict=True)]
    assert found == pytest.approx(scores)
    assert task.summary(task.all, found)[task.headline] == pytest.approx(headline)
    strata = task.strata(task.all)
    if task.headline != "f1":  # the same from units, which intervals are made of
        total = sum(
            weight * sum(task.worth([found[place] for place in unit]) for unit in units) / len(units)
            for weight, units in strata
        )
        assert total == pytest.approx(headline)
    right = [task.score(one.answer, one) for one in task.all]
    if name not in ("vqav2", "textvqa"):
        assert set(right) == {1.0}


HUB: dict[str, tuple[dict[str, list[Any]], str, list[str], list[float]]] = {
    "pope": ({"question_id": [1, 1], "question": ["Is there a cat?"] * 2, "answer": ["yes", "no"],
              "category": ["random", "popular"], "image": images(2)},
             "Is there a cat?" + SHORT, ["Yes.", "no"], [1, 1]),
    "textvqa": ({"image_id": ["a"], "question_id": [7], "question": ["what?"], "answers": [["x"] * 10],
                 "ocr_tokens": [["a", "b"]], "image": images(1)}, "what?" + SHORT, ["X"], [1]),
    "vqav2": ({"question_id": [7], "question": ["what?"], "answer_type": ["other"], "image": images(1),
               "answers": [[{"answer": "x", "answer_confidence": "yes", "answer_id": n} for n in range(10)]]},
              "what?" + SHORT, ["x"], [1]),
    "scienceqa": ({"question": ["Which?", "No picture?"], "choices": [["x", "y"]] * 2, "answer": [1, 0],
                   "hint": ["Look.", ""], "subject": ["s", "s"], "image": [*images(1), None]},
                  "Context: Look.\nWhich?\nA. x\nB. y" + LETTER, ["B"], [1]),
    "mme": ({"question_id": ["OCR/1.jpg"] * 2, "question": ["Is it? Please answer yes or no."] * 2,
             "answer": ["Yes", "No"], "category": ["OCR"] * 2, "image": images(2)},
            "Is it?" + SHORT, ["y", "n"], [1, 1]),
    "mmbench": ({"index": [5], "question": ["Which?"], "hint": ["nan"], "A": ["x"], "B": ["y"], "C": ["nan"],
                 "D": ["nan"], "answer": ["B"], "category": ["c"], "image": images(1)},
                "Which?\nA. x\nB. y" + LETTER, ["B. y"], [1]),
    "seed": ({"question_id": ["1"], "question": ["How?"], "answer": ["A"], "choice_a": ["1"], "choice_b": ["2"],
              "choice_c": ["3"], "choice_d": ["4"], "data_id": ["i"], "data_type": ["image"],
              "question_type_id": [1], "image": [images(1)]}, "How?\nA. 1\nB. 2\nC. 3\nD. 4" + LETTER, ["A"], [1]),
    "ai2d": ({"question": ["Which?"], "options": [["a", "b"]], "answer": ["1"], "image": images(1)},
             "Which?\nA. a\nB. b" + LETTER, ["B"], [1]),
    "chartqa": ({"type": ["human_test"], "question": ["How?"], "answer": ["3"], "image": images(1)},
                "How?" + WORD, ["3.1"], [1]),
    "docvqa": ({"questionId": ["1"], "question": ["Who?"], "answers": [["me"]], "image": images(1)},
               "Who?" + SHORT, ["Me"], [1]),
    "ocrbench": ({"dataset": ["d"], "question": ["Read."], "question_type": ["t"], "answer": [["AB"]],
                  "image": images(1)}, "Read.", ["tab"], [1]),
    "realworldqa": ({"question": ["Which?"], "answer": ["B"], "image": images(1)}, "Which?", ["(B)"], [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", HUB)
def test_tables_of_the_hub(tmp_path: Path, name: str) -> None:
    columns, prompt, said, scores = HUB[name]
    table(tmp_path / "data", columns)
    task = open_task({"name": name, "root": str(tmp_path)})
    assert isinstance(task, Benchmark)
    assert task.all[0].question == prompt
    assert [task.score(text, one) for text, one in zip(said, task.all, strict=True)] == scores
    assert task.all[0].opened().size == (12, 12)


def test_gqa_of_the_hub_is_joined(tmp_path: Path) -> None:
    table(tmp_path / "testdev_balanced_images", {"id": ["n1"], "image": images(1)})
    row = {"id": ["20"], "imageId": ["n1"], "question": ["What?"], "answer": ["dog"]}
    table(tmp_path / "testdev_balanced_instructions", row)
    task = open_task({"name": "gqa", "root": str(tmp_path)})
    (one,) = task.examples("heldout", 5)
    assert one.opened().size == (12, 12)
    table(tmp_path / "testdev_balanced_instructions", {**row, "imageId": ["n2"]})
    with pytest.raises(EosError, match="no picture n2"):
        open_task({"name": "gqa", "root": str(tmp_path)})


def test_reference_ocr_tokens(tmp_path: Path) -> None:
    task = opened(tmp_path, "textvqa", part="ocr")
    assert task.all[1].question == "which brand?\nReference OCR token: Mc, D" + SHORT


def test_official_questions_are_held_out_unless_pictures_are_set_aside(tmp_path: Path) -> None:
    task = opened(tmp_path, "pope")
    with pytest.raises(EosError, match=r"'pope' is for measuring: .*search_share=0\.5"):
        task.examples("search", 5)
    assert len(task.examples("heldout", 5)) == 5
    lines = []
    for number in range(40):
        picture(tmp_path / f"val2014/{number}.png", number)
        lines.append(json.dumps({"question_id": number, "image": f"{number}.png", "text": "?", "label": "yes"}))
    for category in ("popular", "adversarial"):
        (tmp_path / f"coco_pope_{category}.json").unlink()
    (tmp_path / "coco_pope_random.json").write_text("\n".join(lines))
    task = open_task({"name": "pope", "root": str(tmp_path), "search_share": 0.5})  # type: ignore[assignment]
    parts = [{one.key for one in task.examples(split, 100)} for split in ("search", "validation", "heldout")]  # type: ignore[arg-type]
    assert sum(map(len, parts)) == 40
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    assert 10 <= len(parts[2]) <= 30


@pytest.mark.parametrize("name", CASES)
def test_an_empty_folder_says_what_should_be_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(EosError, match="should hold") as reported:
        open_task({"name": name, "root": str(tmp_path)})
    assert name in str(reported.value)
    with pytest.raises(EosError, match="no folder"):
        open_task({"name": name, "root": str(tmp_path / "none")})
    with pytest.raises(EosError, match=f"task '{name}' needs 'root'"):
        open_task(name)


def twice(root: Path) -> None:
    text = (root / "coco_pope_random.json").read_text()
    (root / "coco_pope_random.json").write_text(text + text)


BROKEN: list[tuple[str, Callable[[Path], Any], str]] = [
    ("pope", twice, "question id 'random-1' is there twice"),
    ("pope", lambda root: (root / "coco_pope_random.json").write_text("{"), "not JSON"),
    ("pope", lambda root: (root / "coco_pope_random.json").write_text('{"text": "q"}'), "a row without 'image'"),
    ("pope", lambda root: (root / "coco_pope_random.json").write_text(
        '{"question_id": 1, "image": "../../../etc/passwd", "text": "q", "label": "no"}'), "leaves"),
    ("gqa", lambda root: put(root / "testdev_balanced_questions.json", [1, 2]), "has another layout"),
    ("gqa", lambda root: put(root / "testdev_balanced_questions.json", {"1": {}}), "a row without 'imageId'"),
    ("textvqa", lambda root: put(root / "TextVQA_0.5.1_val.json", {"data": [{"answers": ["a"]}]}),
     "without ten answers"),
    ("textvqa", lambda root: put(root / "TextVQA_0.5.1_val.json", {"dat": []}), "has another layout"),
    ("vqav2", lambda root: put(root / "v2_mscoco_val2014_annotations.json", {"annotations": []}), "no annotation of"),
    ("scienceqa", lambda root: put(root / "pid_splits.json", {"train": []}), "no part 'test'"),
    ("mme", lambda root: (root / "OCR/0001.txt").write_text("no tab"), "has no tab"),
    ("mme", lambda root: (root / "OCR/0001.txt").write_text("q\tperhaps"), "neither yes nor no"),
    ("mmbench", lambda root: (root / "x_dev_cn.tsv").write_text(""), r"2 \.tsv files"),
    ("ai2d", lambda root: put(root / "questions/0.png.json", {"imageName": "0.png", "questions": {
        "q": {"questionId": "1", "answerTexts": ["a"], "correctAnswer": 3}}}), "answer 3 is none of its 1 options"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm", "says"), BROKEN, ids=range(len(BROKEN)))
def test_broken_downloads(tmp_path: Path, name: str, harm: Callable[[Path], Any], says: str) -> None:
    OFFICIAL[name](tmp_path)
    harm(tmp_path)
    with pytest.raises(EosError, match=says):
        open_task({"name": name, "root": str(tmp_path)})


def test_a_missing_picture_is_told_when_it_is_wanted(tmp_path: Path) -> None:
    task = opened(tmp_path, "gqa")
    (tmp_path / "images/n1.jpg").unlink()
    with pytest.raises(EosError, match=r"picture not found: .*n1\.jpg"):
        task.all[0].opened()
