"""Benchmarks of multiple choice: ScienceQA, MMBench, MMStar, SEED-Bench, AI2D."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eos_platform.protocols import Example
from eos_platform.tasks.benchmarks.base import Benchmark, Item, by, gathered, mean, singly
from eos_platform.tasks.benchmarks.files import Tables
from eos_platform.tasks.data.question import Question, letter
from eos_platform.tasks.data.wording import LETTER, options
from eos_platform.tasks.metrics import text

MISSING = ("", "nan", "none")


class _Letters(Benchmark):
    """Right where the right letter is chosen."""

    def score(self, output: str, example: Example) -> float:
        """1 where the letter is chosen: alone, in brackets, before a stop, after "answer is", or by its text."""
        choices = example.choices if isinstance(example, Question) else ()
        return float(text.chosen(output, choices) == example.answer)


class ScienceQa(_Letters):
    """Test questions with a picture; LLaVA's reading: a letter, "A. ...", or "The answer is A"."""

    name = "scienceqa"
    layout = "problems.json, pid_splits.json and images/test/ID/image.png, or the hub's tables (ScienceQA-IMG)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """Problems of the split that have a picture, or one table."""
        if (rows := tables.hub()) is not None:
            for number, row in enumerate(rows):
                if row.get("image") is not None:
                    yield self._item(tables, str(number), row, tables.cell(row))
            return
        part = self.part or "test"
        splits = tables.json(tables.file("pid_splits.json"))
        if part not in splits:
            raise tables.fault(f"no part '{part}'")
        problems = tables.json(tables.file("problems.json"))
        for name in splits[part]:
            row = problems[name]
            if row.get("image"):
                where = tables.image(f"images/{part}/{name}/{row['image']}", f"{part}/{name}/{row['image']}")
                yield self._item(tables, name, row, where)

    def _item(self, tables: Tables, name: str, row: Mapping[str, Any], image: Any) -> Item:
        choices = tuple(map(str, row["choices"]))
        hint = str(row.get("hint") or "").strip()
        asked = (f"Context: {hint}\n" if hint else "") + tables.text(row, "question") + options(choices) + LETTER
        return Item(name, image, asked, (letter(int(row["answer"])),), str(row.get("subject") or "all"), choices)

    def score(self, output: str, example: Example) -> float:
        """1 where the right letter is read."""
        text = output.replace("\n", ". ")
        match = text.strip() if re.fullmatch("[A-E]", text.strip()) else ""
        match = match or next((one[1] for one in [re.match(r"([A-E])\. ", text)] if one), "")
        match = match or next((one[1] for one in [re.search(r"The answer is ([A-E])", text)] if one), "")
        return float(match == example.answer)


class MmBench(_Letters):
    """Dev; with rotated copies (index + k million) a question counts where all rotations are right."""

    name = "mmbench"
    layout = "a .tsv with index, question, hint, A to D, answer, category and image, or the hub's tables (MMBench)"
    headline = "accuracy"

    def read(self, tables: Tables) -> Iterator[Item]:
        """The official table, or the hub's."""
        rows = tables.hub()
        official = rows is None
        if rows is None:
            many = sorted(path for path in tables.root.glob("*.tsv") if self.part in path.name)
            if len(many) != 1:
                reported = f"{len(many)} .tsv files (part=dev_en, say, picks one)" if many else "no .tsv"
                raise tables.fault(reported)
            rows = tables.rows(many[0])
        pictures: dict[str, Any] = {}
        waiting: list[tuple[str, Mapping[str, Any]]] = []
        for row in rows:
            index = tables.text(row, "index")
            if official:
                picture = str(row.get("image", ""))
                if picture.isdigit() and len(picture) < 12:  # the index of the row that holds it
                    waiting.append((index, row))
                    continue
                pictures[index] = tables.base64(picture, f"image of {index}")
            else:
                pictures[index] = tables.cell(row)
            yield self._item(tables, index, row, pictures[index])
        for index, row in waiting:
            if row["image"] not in pictures:
                raise tables.fault(f"question {index}: its picture is that of {row['image']}, which is not there")
            yield self._item(tables, index, row, pictures[row["image"]])

    def _item(self, tables: Tables, index: str, row: Mapping[str, Any], image: Any) -> Item:
        choices = []
        for name in "ABCD":
            value = str(row.get(name, "nan"))
            if value.lower() in MISSING:
                break
            choices.append(value)
        answer = str(row.get("answer", "")).strip()
        if answer not in ("A", "B", "C", "D"):
            raise tables.fault(f"question {index} has no answer (of the test part?)")
        hint = str(row.get("hint", "nan"))
        asked = (hint + "\n" if hint.lower() not in MISSING else "") + tables.text(row, "question")
        facts = {"circle": int(index) % 1_000_000}
        return Item(index, image, asked + options(choices) + LETTER, (answer,), str(row.get("category", "all")),
                    tuple(choices), facts)  # fmt: skip

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """Questions of which all rotations are right; and the mean over single rows."""
        circles = by(questions, scores, lambda one: one.facts["circle"])
        return {
            "accuracy": mean([float(all(value == 1 for value in some)) for some in circles.values()]),
            "rows": mean(scores),
        }

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """Circles of rotations."""
        return [(1.0, list(gathered(questions, lambda one: one.facts["circle"]).values()))]

    def worth(self, scores: Sequence[float]) -> float:
        """1 where all are right."""
        return float(all(score == 1 for score in scores))


class MmStar(_Letters):
    """Validation; the mean over fine categories, not over questions. The options stand in the question."""

    name = "mmstar"
    layout = "mmstar.parquet, or the hub's tables (Lin-Chen/MMStar)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """One table."""
        rows = tables.hub()
        if rows is None:
            raise tables.fault("no table")
        for row in rows:
            asked = tables.text(row, "question") + LETTER.rstrip(".")
            group = tables.text(row, "l2_category", "category")
            yield Item(tables.text(row, "index"), tables.cell(row), asked, (tables.text(row, "answer").strip(),), group)

    def score(self, output: str, example: Example) -> float:
        """1 where the letter is chosen."""
        return float(text.chosen(output, (), 4) == example.answer)

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """The mean of categories' means; and the mean over questions."""
        groups = by(questions, scores, lambda one: one.group)
        return {"accuracy": mean([mean(values) for values in groups.values()]), "questions": mean(scores)}

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """Categories, alike."""
        groups = gathered(questions, lambda one: one.group).values()
        return [(1 / len(groups), singly(places)) for places in groups]


class Seed(_Letters):
    """SEED-Bench's questions about pictures."""

    name = "seed"
    layout = "SEED-Bench.json and SEED-Bench-image/, or the hub's tables (SEED-Bench)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """``questions`` of the official file, or one table; films are left out."""
        rows = tables.hub()
        official = rows is None
        kinds: dict[int, str] = {}
        if rows is None:
            result = tables.json(tables.file("SEED-Bench.json"))
            kinds = {number: name for name, number in result.get("question_type", {}).items()}
            rows = iter(result["questions"])
        for row in rows:
            if row.get("data_type") != "image":
                continue
            choices = tuple(tables.text(row, f"choice_{one}") for one in "abcd")
            name = tables.text(row, "data_id")
            where = tables.image(f"SEED-Bench-image/{name}", name) if official else tables.cell(row)
            asked = tables.text(row, "question") + options(choices) + LETTER
            kind = row.get("question_type_id")
            group = kinds.get(int(kind), str(kind)) if kind is not None else "all"
            yield Item(tables.text(row, "question_id"), where, asked, (tables.text(row, "answer"),), group, choices)


class Ai2d(_Letters):
    """Test; an answer is the place of an option from 0."""

    name = "ai2d"
    layout = "questions/*.json, images/ and optionally ai2d_test_ids.csv, or the hub's tables (ai2d)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """A file a picture, or one table."""
        if (rows := tables.hub()) is not None:
            for number, row in enumerate(rows):
                choices = tuple(map(str, row["options"]))
                asked, answer = tables.text(row, "question"), int(tables.text(row, "answer"))
                yield self._item(tables, str(number), asked, choices, answer, tables.cell(row))
            return
        wanted = tables.there("ai2d_test_ids.csv")
        ids = set(wanted.read_text("utf-8-sig").split()) if wanted else None
        for path in sorted(tables.file("questions").glob("*.json")):
            result = tables.json(path)
            image = tables.text(result, "imageName")
            if ids is not None and image.partition(".")[0] not in ids:
                continue
            for asked, row in result["questions"].items():
                choices = tuple(map(str, row["answerTexts"]))
                where = tables.image(f"images/{image}", image)
                yield self._item(
                    tables, tables.text(row, "questionId"), asked, choices, int(row["correctAnswer"]), where
                )

    def _item(self, tables: Tables, name: str, asked: str, choices: tuple[str, ...], answer: int, image: Any) -> Item:
        if not 0 <= answer < len(choices):
            raise tables.fault(f"question {name}: answer {answer} is none of its {len(choices)} options")
        return Item(name, image, asked + options(choices) + LETTER, (letter(answer),), "all", choices)
