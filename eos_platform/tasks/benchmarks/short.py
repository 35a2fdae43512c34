"""Benchmarks answered in a few words: GQA, TextVQA, VQAv2, ChartQA, DocVQA, InfoVQA, OCRBench, RealWorldQA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eos_platform.protocols import Example
from eos_platform.tasks.benchmarks.base import Benchmark, Item, by, gathered, mean, singly
from eos_platform.tasks.benchmarks.files import Tables
from eos_platform.tasks.data.question import Question
from eos_platform.tasks.data.wording import SHORT
from eos_platform.tasks.metrics import text
from eos_platform.tasks.metrics.vqa_text import read_textvqa, read_vqa


class Gqa(Benchmark):
    """Balanced testdev; equal but for capitals and a full stop at the end, as LLaVA's evaluation has it."""

    name = "gqa"
    layout = "testdev_balanced_questions.json and images/, or testdev_balanced_{instructions,images}/ of the hub"

    def read(self, tables: Tables) -> Iterator[Item]:
        """Questions by id; in the hub's form pictures are a table of their own."""
        if instructions := tables.there("testdev_balanced_instructions"):
            images = {tables.text(r, "id"): tables.cell(r) for r in tables.rows(tables.file("testdev_balanced_images"))}
            for row in tables.rows(instructions):
                image = tables.text(row, "imageId")
                if image not in images:
                    raise tables.fault(f"no picture {image}")
                yield self._item(tables, tables.text(row, "id"), row, images[image])
            return
        part = self.part or "testdev_balanced"
        for name, row in tables.json(tables.file(f"{part}_questions.json")).items():
            image = tables.text(row, "imageId")
            yield self._item(tables, name, row, tables.image(f"images/{image}.jpg", f"{image}.jpg"))

    def _item(self, tables: Tables, name: str, row: Mapping[str, Any], image: Any) -> Item:
        types = row.get("types")
        group = types.get("structural") if isinstance(types, dict) else None
        group = group if isinstance(group, str) else "all"
        return Item(name, image, tables.text(row, "question") + SHORT, (tables.text(row, "answer"),), group)

    def score(self, output: str, example: Example) -> float:
        """1 where it is the answer."""
        return float(output.strip().rstrip(".").lower() == example.answer.lower())


class TextVqa(Benchmark):
    """Validation; soft accuracy over ten answers. ``part=ocr`` puts LLaVA's reference OCR tokens into the prompt."""

    name = "textvqa"
    layout = "TextVQA_0.5.1_val.json and train_images/, or the hub's tables (textvqa)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """``data`` of the official file, or one table."""
        rows = tables.hub()
        official = rows is None
        for row in tables.json(tables.file("TextVQA_0.5.1_val.json"))["data"] if rows is None else rows:
            answers = row.get("answers")
            if not isinstance(answers, list) or len(answers) != 10:
                raise tables.fault("a question without ten answers (of the test part?)")
            ocr = row.get("ocr_tokens")
            shown = f"\nReference OCR token: {', '.join(ocr)}" if self.part == "ocr" and isinstance(ocr, list) else ""
            image = tables.text(row, "image_id")
            where = tables.image(f"train_images/{image}.jpg", f"{image}.jpg") if official else tables.cell(row)
            question = tables.text(row, "question") + shown + SHORT
            yield Item(tables.text(row, "question_id"), where, question, frequent(answers), "all")

    def score(self, output: str, example: Example) -> float:
        """Soft accuracy after M4C's reading."""
        return text.soft(read_textvqa(output), [read_textvqa(one) for one in example.answers])


class VqaV2(Benchmark):
    """Validation; soft accuracy over ten answers as the official code has it: golds are read only if they differ."""

    name = "vqav2"
    layout = "v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json and val2014/, or the hub's"

    def read(self, tables: Tables) -> Iterator[Item]:
        """Questions and annotations joined by id, or one table."""
        if (rows := tables.hub()) is not None:
            for row in rows:
                yield self._item(tables, row, row, tables.cell(row))
            return
        reported = tables.json(tables.file("v2_mscoco_val2014_annotations.json"))["annotations"]
        annotated = {one["question_id"]: one for one in reported}
        for row in tables.json(tables.file("v2_OpenEnded_mscoco_val2014_questions.json"))["questions"]:
            if row["question_id"] not in annotated:
                raise tables.fault(f"no annotation of question {row['question_id']}")
            image = f"COCO_val2014_{int(row['image_id']):012d}.jpg"
            where = tables.image(f"val2014/{image}", image, f"images/{image}")
            yield self._item(tables, row, annotated[row["question_id"]], where)

    def _item(self, tables: Tables, row: Mapping[str, Any], reported: Mapping[str, Any], image: Any) -> Item:
        answers = reported.get("answers")
        if not isinstance(answers, list) or not answers:
            raise tables.fault("a question without answers (of a test part?)")
        golds = frequent([one["answer"] if isinstance(one, dict) else one for one in answers])
        group = str(reported.get("answer_type", "all"))
        return Item(tables.text(row, "question_id"), image, tables.text(row, "question") + SHORT, golds, group)

    def score(self, output: str, example: Example) -> float:
        """Soft accuracy."""
        golds = [one.replace("\n", " ").replace("\t", " ").strip() for one in example.answers]
        output = output.replace("\n", " ").replace("\t", " ").strip()
        if len(set(golds)) > 1:
            golds, output = [read_vqa(one) for one in golds], read_vqa(output)
        return sum(min(1.0, (golds.count(output) - (one == output)) / 3) for one in golds) / len(golds)


class ChartQa(Benchmark):
    """Test, human and augmented; relaxed accuracy, and the mean of the two."""

    name = "chartqa"
    layout = "test/test_human.json, test/test_augmented.json and test/png/, or the hub's tables (ChartQA)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """Two lists, or one table."""
        prompt = "\nAnswer the question with a single word."
        if (rows := tables.hub()) is not None:
            for number, row in enumerate(rows):
                group = tables.text(row, "type").removesuffix("_test")
                asked = tables.text(row, "question") + prompt
                yield Item(f"{group}-{number}", tables.cell(row), asked, (tables.text(row, "answer"),), group)
            return
        for group in ("human", "augmented"):
            for number, row in enumerate(tables.json(tables.file(f"test_{group}.json", f"test/test_{group}.json"))):
                image = tables.text(row, "imgname")
                where = tables.image(f"test/png/{image}", f"png/{image}", image)
                asked = tables.text(row, "query") + prompt
                yield Item(f"{group}-{number}", where, asked, (tables.text(row, "label"),), group)

    def score(self, output: str, example: Example) -> float:
        """Relaxed."""
        return text.relaxed(output, example.answers)

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """Of human and augmented questions, and the mean of the two."""
        parts = {f"accuracy/{key}": mean(values) for key, values in by(questions, scores, _group).items()}
        return {"accuracy": mean(list(parts.values()))} | parts

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """The two parts, alike."""
        parts = gathered(questions, _group).values()
        return [(1 / len(parts), singly(places)) for places in parts]


class DocVqa(Benchmark):
    """Validation; ANLS."""

    name = "docvqa"
    layout = "val_v1.0.json (or val_v1.0_withQT.json) and documents/, or the hub's tables (DocVQA)"
    files: tuple[str, ...] = ("val_v1.0.json", "val_v1.0_withQT.json")
    folder = "documents"
    headline = "anls"
    most = 32

    def read(self, tables: Tables) -> Iterator[Item]:
        """``data`` of the official file, or one table."""
        rows = tables.hub()
        official = rows is None
        for row in tables.json(tables.file(*self.files))["data"] if rows is None else rows:
            answers = row.get("answers")
            if not isinstance(answers, list) or not answers:
                raise tables.fault("a question without answers (of the test part?)")
            name = str(row.get("image") or row.get("image_local_name")) if official else ""
            short = name.rpartition("/")[2]
            where = tables.image(name, f"{self.folder}/{short}", short) if official else tables.cell(row)
            question = tables.text(row, "question") + SHORT
            yield Item(tables.text(row, "questionId"), where, question, tuple(map(str, answers)))

    def score(self, output: str, example: Example) -> float:
        """ANLS."""
        return text.anls(output, example.answers)

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """Its mean."""
        return {"anls": mean(scores)}


class InfoVqa(DocVqa):
    """Validation; ANLS."""

    name = "infovqa"
    layout = "infographicsVQA_val_v1.0.json and images, or the hub's tables (DocVQA, InfographicVQA)"
    files = ("infographicsVQA_val_v1.0.json", "infographicsVQA_val_v1.0_withQT.json")
    folder = "images"


class OcrBench(Benchmark):
    """1,000 questions; one point where an answer is contained in what is said."""

    name = "ocrbench"
    layout = "OCRBench.json and its pictures, or the hub's tables (OCRBench)"
    unit = "points"
    headline = "points"
    most = 64

    def read(self, tables: Tables) -> Iterator[Item]:
        """One list, or one table."""
        if (rows := tables.hub()) is not None:
            for number, row in enumerate(rows):
                yield self._item(tables, number, row, tables.text(row, "dataset"), tables.cell(row))
            return
        for number, row in enumerate(tables.json(tables.file("OCRBench.json"))):
            image = tables.text(row, "image_path")
            where = tables.image(image, f"OCRBench_Images/{image}", f"images/{image}")
            yield self._item(tables, number, row, tables.text(row, "dataset_name"), where)

    def _item(self, tables: Tables, number: int, row: Mapping[str, Any], dataset: str, image: Any) -> Item:
        reported = row.get("answers", row.get("answer"))
        answers = tuple(map(str, reported if isinstance(reported, list) else [reported]))
        group = tables.text(row, "type", "question_type")
        return Item(str(number), image, tables.text(row, "question"), answers, group, (), {"dataset": dataset})

    def score(self, output: str, example: Example) -> float:
        """1 where an answer is contained; handwritten formulas with their capitals and without spaces."""
        formula = isinstance(example, Question) and example.facts.get("dataset") == "HME100k"

        def read(one: str) -> str:
            one = one.strip().replace("\n", " ")
            return one.replace(" ", "") if formula else one.lower()

        return float(any(read(one) in read(output) for one in example.answers))

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> dict[str, float]:
        """Points in all and of each kind, and their share."""
        parts = {f"points/{key}": sum(values) for key, values in by(questions, scores, _group).items()}
        return {"points": sum(scores), "accuracy": mean(scores)} | parts

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """A sum."""
        return [(float(len(questions)), singly(range(len(questions))))]


class RealWorldQa(Benchmark):
    """A letter, or a word or number, as the question itself says."""

    name = "realworldqa"
    layout = "annotations.json and its pictures, or the hub's tables (RealWorldQA)"

    def read(self, tables: Tables) -> Iterator[Item]:
        """One list, or one table."""
        rows = tables.hub()
        official = rows is None
        for number, row in enumerate(tables.rows(tables.file("annotations.json")) if rows is None else rows):
            if official:
                image = tables.text(row, "image", "image_path")
                where: Any = tables.image(image, f"images/{image}")
            else:
                where = tables.cell(row)
            yield Item(str(number), where, tables.text(row, "question"), (tables.text(row, "answer"),))

    def score(self, output: str, example: Example) -> float:
        """1 where the letter is chosen, or the text is the same but for capitals and a full stop."""
        reported = example.answer.strip()
        if len(reported) == 1 and reported.isalpha() and reported.isupper():
            return float(text.chosen(output, (), 26) == reported)
        return float(text.plain(output).rstrip(".") == text.plain(reported).rstrip("."))


def frequent(answers: Sequence[Any]) -> tuple[str, ...]:
    """Answers, the most frequent first: the first is the one that is taught."""
    counts = Counter(map(str, answers))
    return tuple(sorted(map(str, answers), key=lambda one: -counts[one]))


def _group(one: Question) -> str:
    return one.group
