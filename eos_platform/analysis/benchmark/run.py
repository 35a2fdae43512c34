"""Ask a model the questions of several tasks, unreduced and with operators, and gather what the answers are worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eos_platform.analysis.benchmark.store import Answers
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Example, Task
from eos_platform.tasks.answers.generate import BATCH, answers
from eos_platform.tasks.data.question import Question

UNREDUCED = "unreduced"
Notify = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Asked:
    """One task, asked.

    Attributes:
        task: itself.
        questions: that were asked.
        scores: of each, by operator (``unreduced`` first).
        texts: what was written, likewise.
    """

    task: Task
    questions: tuple[Question, ...]
    scores: Mapping[str, tuple[float, ...]]
    texts: Mapping[str, tuple[str, ...]]


def run(
    model: Any,
    processor: Any,
    tasks: Sequence[Task],
    operators: Mapping[str, OperatorSpec],
    out: Path,
    *,
    about: Mapping[str, Any],
    limit: int | None = None,
    batch: int = BATCH,
    notify: Notify | None = None,
) -> Iterator[Asked]:
    """Ask; answers that are in ``out`` already are not asked for again.

    Args:
        model: of any family.
        processor: its own.
        tasks: benchmarks and others.
        operators: by the name that tables give them.
        out: folder of the answers.
        about: facts of the model, kept beside the answers.
        limit: questions of each task, at most.
        batch: questions at a time.
        notify: is called with what is asked, how many questions are done, and of how many.

    Raises:
        EosError: ``out`` holds answers of something else, or questions without right answers.
    """
    out.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        questions = _questions(task, limit)
        scores: dict[str, tuple[float, ...]] = {}
        texts: dict[str, tuple[str, ...]] = {}
        for name, operator in ((UNREDUCED, None), *operators.items()):
            facts = {
                **about,
                "operator": operator_hash(operator),
                "task": task.name,
                "task_version": task.version,
                "eos_platform": version("eos-platform"),
            }
            kept = Answers(out / f"{task.name}.{name}.jsonl", facts)
            _ask(model, processor, task, questions, operator, kept, batch, f"{task.name}, {name}", notify)
            result = [kept.known[one.id] for one in questions]
            texts[name], scores[name] = tuple(text for text, _ in result), tuple(score for _, score in result)
        yield Asked(task, questions, scores, texts)


def operator_hash(operator: OperatorSpec | None) -> str:
    """The SHA-256 of what an operator does and is called; ``none`` of none."""
    if operator is None:
        return "none"
    return hashlib.sha256(operator.model_dump_json().encode()).hexdigest()[:16]


def _questions(task: Task, limit: int | None) -> tuple[Question, ...]:
    result = task.examples("heldout", 10**9 if limit is None else limit)
    if not result[0].answers:
        raise EosError(f"task '{task.name}': there are no right answers to score by")
    return tuple(one if isinstance(one, Question) else _named(one, place) for place, one in enumerate(result))


def _named(one: Example, place: int) -> Question:
    """A question of a task whose examples have no names."""
    return Question(one.image, one.question, one.answers, one.group, one.key, id=str(place))


def _ask(
    model: Any,
    processor: Any,
    task: Task,
    questions: Sequence[Question],
    operator: OperatorSpec | None,
    kept: Answers,
    batch: int,
    what: str,
    notify: Notify | None,
) -> None:
    left = [one for one in questions if one.id not in kept.known]
    done = len(questions) - len(left)
    most = max((one.most for one in questions), default=0) or 16
    longest = max((len(processor.tokenizer(one.answer).input_ids) for one in left[:1000]), default=0)
    if notify is not None:
        notify(what, done, len(questions))
    for some in answers(model, processor, left, operator, batch=batch, most=max(most, longest + 1)):
        rows = [(str(getattr(one, "id", "")), text, float(task.score(text, one))) for one, text in some]
        kept.add(rows)
        done += len(rows)
        if notify is not None:
            notify(what, done, len(questions))
