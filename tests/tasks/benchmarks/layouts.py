"""Official layouts, made by hand: a few questions each, with pictures of noise."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(path: Path, number: int = 0) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)
    return path


def encoded(number: int) -> bytes:
    """The bytes of one."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def put(path: Path, value: Any) -> None:
    """JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def pope(root: Path) -> None:
    for place, category in enumerate(("random", "popular", "adversarial")):
        rows = []
        for number, label in enumerate(("yes", "no", "yes", "no")):
            name = f"COCO_val2014_{place:012d}.jpg"
            picture(root / "val2014" / name, place)
            row = {"question_id": number + 1, "image": name, "text": f"Is there a {number}?", "label": label}
            rows.append(json.dumps(row))
        (root / f"coco_pope_{category}.json").write_text("\n".join(rows) + "\n")


def gqa(root: Path) -> None:
    types = {"structural": "query", "semantic": "attr"}
    questions = {
        "201": {"imageId": "n1", "question": "What is it?", "answer": "dog", "types": types, "isBalanced": True},
        "202": {"imageId": "n1", "question": "Is it red?", "answer": "no", "types": {"structural": "verify"}},
        "203": {"imageId": "n2", "question": "Where?", "answer": "left", "types": types},
    }
    put(root / "testdev_balanced_questions.json", questions)
    picture(root / "images/n1.jpg", 1)
    picture(root / "images/n2.jpg", 2)


def textvqa(root: Path) -> None:
    data = [
        {"question_id": 34602, "image_id": "a1", "question": "what does the STOP sign say?", "answers": ["stop"] * 10},
        {"question_id": 34603, "image_id": "a1", "question": "which brand?",
         "answers": ["McDonald's"] * 2 + ["mc"] * 8, "ocr_tokens": ["Mc", "D"]},
    ]  # fmt: skip
    put(root / "TextVQA_0.5.1_val.json", {"data": data})
    picture(root / "train_images/a1.jpg")


def vqav2(root: Path) -> None:
    questions = [{"image_id": 42, "question": f"Q{number}?", "question_id": 42000 + number} for number in range(3)]
    golds = (["yes"] * 10, ["2"] * 2 + ["two"] * 1 + ["3"] * 7, ["a red car"] * 10)
    annotations = [
        {"question_id": 42000 + number, "image_id": 42, "answer_type": "other", "question_type": "what",
         "multiple_choice_answer": gold[0],
         "answers": [{"answer": one, "answer_confidence": "yes", "answer_id": place + 1}
                     for place, one in enumerate(gold)]}
        for number, gold in enumerate(golds)
    ]  # fmt: skip
    put(root / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    put(root / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})
    picture(root / "val2014/COCO_val2014_000000000042.jpg")


def scienceqa(root: Path) -> None:
    problem = {"question": "Which?", "choices": ["x", "y", "z"], "answer": 1, "hint": "", "image": "image.png",
               "subject": "natural science", "split": "test"}  # fmt: skip
    problems = {
        "4": problem,
        "5": {**problem, "hint": "Look.", "answer": 0},
        "6": {**problem, "image": None},
        "7": {**problem, "split": "train"},
    }
    put(root / "problems.json", problems)
    put(root / "pid_splits.json", {"test": ["4", "5", "6"], "train": ["7"]})
    for name in "45":
        picture(root / f"images/test/{name}/image.png", int(name))


def mme(root: Path) -> None:
    for category, answers in (("existence", ("Yes", "No")), ("OCR", ("Yes", "No")), ("code_reasoning", ("No", "Yes"))):
        for name in ("0001", "0002"):
            picture(root / category / f"{name}.jpg")
            text = "\n".join(f"Is it {n}? Please answer yes or no.\t{answer}" for n, answer in enumerate(answers))
            (root / category / f"{name}.txt").write_text(text + "\n")


def mmbench(root: Path) -> None:
    columns = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "split"]
    image = base64.b64encode(encoded(1)).decode()
    rows = [
        ["0", "Which?", "nan", "cat", "dog", "", "", "A", "k1", image, "dev"],
        ["1000000", "Which?", "nan", "dog", "cat", "", "", "B", "k1", "0", "dev"],
        ["1", "Where?", "A hint", "left", "right", "up", "down", "D", "k2", image, "dev"],
    ]
    with (root / "mmbench_dev_en.tsv").open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerows([columns, *rows])


def table(root: Path, columns: dict[str, list[Any]], name: str = "test-00000-of-00001.parquet") -> None:
    """A table as the hub has it: pictures as struct of bytes and path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / name)


def images(count: int) -> list[dict[str, Any]]:
    """Pictures as cells."""
    return [{"bytes": encoded(number), "path": f"{number}.png"} for number in range(count)]


def mmstar(root: Path) -> None:
    table(root, {
        "index": [0, 1, 2], "question": [f"Q{n}\nOptions: A: x, B: y, C: z, D: w" for n in range(3)],
        "image": images(3), "answer": ["A", "B", "C"], "category": ["p", "p", "q"],
        "l2_category": ["one", "one", "two"],
    })  # fmt: skip


def seed(root: Path) -> None:
    question = {"choice_a": "1", "choice_b": "2", "choice_c": "3", "choice_d": "4", "data_type": "image",
                "question": "How many?", "question_type_id": 1, "segment": None}  # fmt: skip
    questions = [
        {**question, "answer": "B", "data_id": "im1", "question_id": "101"},
        {**question, "answer": "A", "data_id": "im1", "question_id": "102", "question_type_id": 2},
        {**question, "answer": "A", "data_id": "v.mp4", "question_id": "103", "data_type": "video"},
    ]
    put(root / "SEED-Bench.json", {"question_type": {"Scene": 1, "Count": 2}, "questions": questions})
    picture(root / "SEED-Bench-image/im1.png").rename(root / "SEED-Bench-image/im1")


def ai2d(root: Path) -> None:
    questions = {
        "Which is a root?": {"questionId": "0.png-0", "answerTexts": ["a", "b", "c", "d"], "correctAnswer": 2},
        "Which eats?": {"questionId": "0.png-1", "answerTexts": ["a", "b"], "correctAnswer": 0},
    }
    put(root / "questions/0.png.json", {"imageName": "0.png", "questions": questions})
    put(root / "questions/1.png.json", {"imageName": "1.png", "questions": {
        "Other?": {"questionId": "1.png-0", "answerTexts": ["a", "b"], "correctAnswer": 0}}})  # fmt: skip
    (root / "ai2d_test_ids.csv").write_text("0\n")
    picture(root / "images/0.png")


def chartqa(root: Path) -> None:
    put(root / "test/test_human.json", [{"imgname": "1.png", "query": "How much?", "label": "100"},
                                        {"imgname": "1.png", "query": "Which?", "label": "Blue"}])  # fmt: skip
    put(root / "test/test_augmented.json", [{"imgname": "2.png", "query": "Sum?", "label": "2010"}])
    picture(root / "test/png/1.png", 1)
    picture(root / "test/png/2.png", 2)


def docvqa(root: Path) -> None:
    data = [{"questionId": 49153, "question": "Date?", "image": "documents/d.png", "docId": 1,
             "answers": ["1/8/93", "1/8/1993"]},
            {"questionId": 49154, "question": "Who?", "image": "documents/d.png", "docId": 1,
             "answers": ["Philip"]}]  # fmt: skip
    put(root / "val_v1.0.json", {"dataset_name": "docvqa", "data": data})
    picture(root / "documents/d.png")


def infovqa(root: Path) -> None:
    put(root / "infographicsVQA_val_v1.0.json", {"data": [
        {"questionId": 1, "question": "Share?", "image_local_name": "30.jpg", "answers": ["12%"]}]})  # fmt: skip
    picture(root / "images/30.jpg")


def ocrbench(root: Path) -> None:
    rows = [
        {"dataset_name": "IIIT5K", "image_path": "a/1.png", "question": "What is written?", "answers": ["CENTRE"],
         "type": "Regular Text Recognition"},
        {"dataset_name": "HME100k", "image_path": "a/1.png", "question": "Formula?", "answers": "x ^ 2 + Y",
         "type": "Handwritten Mathematical Expression Recognition"},
    ]  # fmt: skip
    put(root / "OCRBench.json", rows)
    picture(root / "OCRBench_Images/a/1.png")


def realworldqa(root: Path) -> None:
    rows = [
        {"image": "0.webp", "question": "Left? A. yes B. no\nPlease answer directly with only the letter.",
         "answer": "A"},
        {"image": "0.webp", "question": "How many? Answer with a single word or number.", "answer": "3"},
    ]  # fmt: skip
    put(root / "annotations.json", rows)
    picture(root / "0.webp")


OFFICIAL: dict[str, Callable[[Path], None]] = {
    one.__name__: one
    for one in (pope, gqa, textvqa, vqav2, scienceqa, mme, mmbench, mmstar, seed, ai2d, chartqa, docvqa, infovqa,
                ocrbench, realworldqa)
}  # fmt: skip
