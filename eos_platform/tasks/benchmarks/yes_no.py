"""POPE and MME: yes or no."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eos_platform.protocols import Example
from eos_platform.tasks.benchmarks.base import Benchmark, Item, by, gathered, mean
from eos_platform.tasks.benchmarks.files import Tables
from eos_platform.tasks.data.question import Question
from eos_platform.tasks.data.wording import SHORT
from eos_platform.tasks.metrics.registry import summary

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


class Pope(Benchmark):
    """Whether objects are there; papers report the mean F1 of its three categories."""

    name = "pope"
    layout = "coco_pope_{random,popular,adversarial}.json and val2014/, or the hub's tables (POPE)"
    headline = "f1"
    CATEGORIES = ("random", "popular", "adversarial")

    def read(self, tables: Tables) -> Iterator[Item]:
        """Three files of JSON lines, or one table."""
        if (rows := tables.hub()) is not None:
            for number, row in enumerate(rows):
                group = tables.text(row, "category")
                text = tables.text(row, "question") + SHORT
                name = f"{group}-{row.get('question_id', number)}-{number}"
                yield Item(name, tables.cell(row), text, (tables.text(row, "answer").lower(),), group)
            return
        for category in self.CATEGORIES:
            path = tables.there(f"coco_pope_{category}.json", f"coco_pope_{category}.jsonl")
            if path is None:
                continue
            for row in lines(tables, path):
                image = tables.text(row, "image")
                where = tables.image(f"val2014/{image}", image, f"images/{image}", f"coco/val2014/{image}")
                text = tables.text(row, "text", "question") + SHORT
                name = f"{category}-{tables.text(row, 'question_id')}"
                yield Item(name, where, text, (tables.text(row, "label"),), category)

    def score(self, output: str, example: Example) -> float:
        """1 where what is said is taken for the label."""
        return float(said(output) == example.answer)

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """Of each category accuracy, precision, recall, F1 and the share of yes; their means."""
        result: dict[str, float] = {}
        some: list[dict[str, float]] = []
        for category in dict.fromkeys(one.group for one in questions):
            mine = [(s, q.answer) for q, s in zip(questions, scores, strict=True) if q.group == category]
            reported = dict(summary([s for s, _ in mine], [gold for _, gold in mine]))
            some.append(reported)
            result |= {f"{key}/{category}": value for key, value in reported.items()}
        means = {
            key: mean([one[key] for one in some]) for key in ("f1", "accuracy", "precision", "recall", "yes_ratio")
        }
        return means | result


def said(output: str) -> str:
    """POPE's own reading: the first sentence; no where one of its words is no, No or not; anything else is yes."""
    words = output.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


class Mme(Benchmark):
    """14 categories of two questions a picture: accuracy, and pictures with both right, in per cent, summed."""

    name = "mme"
    layout = "a folder a category with pictures and .txt files (question TAB answer), or the hub's tables (MME)"
    headline = "perception"
    unit = "points"

    def read(self, tables: Tables) -> Iterator[Item]:
        """Folders, or one table."""
        if (rows := tables.hub()) is not None:
            for number, row in enumerate(rows):
                category, name = tables.text(row, "category"), tables.text(row, "question_id")
                yield self._item(f"{name}-{number}", tables, tables.cell(row), row, category, f"{category}/{name}")
            return
        for category in (*PERCEPTION, *COGNITION):
            folder = tables.there(category)
            if folder is None:
                continue
            texts = sorted([*folder.glob("*.txt"), *folder.glob("questions_answers_YN/*.txt")])
            for path in texts:
                pictures = [path.parent, path.parent.parent / "images"]
                result = next(
                    (
                        one
                        for place in pictures
                        for ending in ("jpg", "png", "jpeg")
                        if (one := place / f"{path.stem}.{ending}").is_file()
                    ),
                    path.with_suffix(".jpg"),
                )
                for number, line in enumerate(path.read_text("utf-8-sig").splitlines()):
                    if not line.strip():
                        continue
                    question, tab, answer = line.rpartition("\t")
                    if not tab:
                        raise tables.fault(f"{path.name}: line {number + 1} has no tab")
                    row = {"question": question, "answer": answer}
                    name = f"{category}/{path.stem}"
                    yield self._item(f"{name}-{number}", tables, result, row, category, name)

    def _item(self, name: str, tables: Tables, image: object, row: object, category: str, picture: str) -> Item:
        text = tables.text(row, "question").strip().replace(" Please answer yes or no.", "") + SHORT  # type: ignore[arg-type]
        answer = tables.text(row, "answer").strip().lower().rstrip(".")  # type: ignore[arg-type]
        if answer not in ("yes", "no"):
            raise tables.fault(f"{name}: the answer is neither yes nor no")
        return Item(name, image, text, (answer,), category, (), {"picture": picture})  # type: ignore[arg-type]

    def score(self, output: str, example: Example) -> float:
        """1 where yes or no stands among its first four letters."""
        return float(first_four(output) == example.answer)

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """Points of each category (200 at most), of perception (2000) and of cognition (800)."""
        result: dict[str, float] = {}
        for category, values in by(questions, scores, lambda one: one.group).items():
            mine = [(q, s) for q, s in zip(questions, scores, strict=True) if q.group == category]
            pairs = by([q for q, _ in mine], [s for _, s in mine], lambda one: one.facts["picture"])
            plus = mean([float(all(value == 1 for value in pair)) for pair in pairs.values()])
            result[category] = 100 * (mean(values) + plus)
        perception = sum(value for name, value in result.items() if name in PERCEPTION)
        cognition = sum(value for name, value in result.items() if name in COGNITION)
        return {"perception": perception, "cognition": cognition, "accuracy": mean(scores)} | result

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """Pictures of each category of perception."""
        result: dict[str, list[list[int]]] = {}
        for places in gathered(questions, lambda one: one.facts["picture"]).values():
            result.setdefault(questions[places[0]].group, []).append(places)
        return [(1.0, units) for group, units in result.items() if group in PERCEPTION]

    def worth(self, scores: Sequence[float]) -> float:
        """Both numbers of a picture."""
        return 100 * (mean(scores) + all(score == 1 for score in scores))


def first_four(output: str) -> str:
    """MME's own reading: yes or no among the first four letters; y or n alone; else other."""
    text = output.lower().strip().replace(".", "")
    if len(text) == 1:
        return {"y": "yes", "n": "no"}.get(text, "other")
    return "yes" if "yes" in text[:4] else "no" if "no" in text[:4] else "other"


def lines(tables: Tables, path: object) -> Iterator[dict[str, object]]:
    """Rows of a file of JSON lines, whatever its ending; or of a list."""
    from pathlib import Path

    from eos_platform.tasks.data.readers.text import json_lines, json_list
    from eos_platform.tasks.data.rows import Bad

    assert isinstance(path, Path)
    with path.open("rb") as stream:
        head = stream.read(64).lstrip()
    for row in json_list(path) if head.startswith(b"[") else json_lines(path):
        if isinstance(row, Bad):
            raise tables.fault(str(row))
        yield dict(row.values)
