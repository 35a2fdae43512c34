"""Metrics by name, those of other packages too (entry points ``eos_platform.metrics``), and which one rows call for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eos_platform.common.errors import EosError, shown
from eos_platform.plugins import Registry
from eos_platform.protocols import Example
from eos_platform.tasks.data.question import Question
from eos_platform.tasks.metrics import text

Score = Callable[[str, Example], float]


@dataclass(frozen=True)
class Metric:
    """What an answer is worth.

    Attributes:
        score: of what was written, and the question.
        features: in a line.
        most: tokens that an answer is given at least, as it may say more than the right one; 0: no more than that.
        check: raises ``EosError`` for a question it cannot judge.
    """

    score: Score
    features: str = ""
    most: int = 0
    check: Callable[[Example], None] | None = None

    def worth(self, output: str, example: Example) -> float:
        """The score, made sure of.

        Raises:
            EosError: it is no number from 0 to 1.
        """
        result = self.score(output, example)
        if isinstance(result, bool) or not isinstance(result, (int, float)):
            result = float(result) if isinstance(result, bool) or hasattr(result, "__float__") else math.nan
        if not 0.0 <= result <= 1.0:
            raise EosError(f"a metric gave {shown(result)}; a score is a number from 0 to 1")
        return float(result)


def _of(measure: Callable[[str, tuple[str, ...]], float]) -> Score:
    return lambda output, example: measure(output, tuple(example.answers))


def _letter(output: str, example: Example) -> float:
    choices = example.choices if isinstance(example, Question) else ()
    return float(text.chosen(output, choices) == example.answer)


def _yes_no(output: str, example: Example) -> float:
    return float(text.yes_no(output) == text.plain(example.answer))


def _check_yes_no(example: Example) -> None:
    if text.plain(example.answer) not in ("yes", "no"):
        raise EosError(f"metric 'yesno': answer {shown(example.answer)} is neither yes nor no")


def _check_letter(example: Example) -> None:
    if not (isinstance(example, Question) and example.choices):
        raise EosError("metric 'letter': a row without choices")


def _check_regex(example: Example) -> None:
    for one in example.answers:
        text.compiled(one)


def _checked(thing: Any) -> Metric:
    """A metric, or a function of output and example."""
    if isinstance(thing, Metric):
        return thing
    if not callable(thing):
        raise TypeError(f"expected a metric or a function of (output, example), found {type(thing).__name__}")
    return Metric(thing, (thing.__doc__ or "").strip().split("\n")[0], 16)


METRICS: Registry[Metric] = Registry("metric", "metrics", _checked)
for _name, _metric in {
    "exact": Metric(_of(text.exact), "one of the answers, but for capitals and spaces"),
    "letter": Metric(_letter, "the letter of the right choice, or its text", 8, _check_letter),
    "yesno": Metric(_yes_no, "the first yes or no that is said", 8, _check_yes_no),
    "vqa": Metric(_of(text.vqa), "VQA soft accuracy after its normalisation", 12),
    "anls": Metric(_of(text.anls), "average normalised Levenshtein similarity, 0 below one half", 24),
    "relaxed": Metric(_of(text.relaxed), "numbers within 5 %, other text but for capitals", 12),
    "contains": Metric(_of(text.contains), "an answer stands in it as whole words", 24),
    "regex": Metric(_of(text.regex), "an answer, as a regular expression, is found in it", 24, _check_regex),
}.items():
    METRICS.register(_name, _metric)


def called_for(rows: Iterable[tuple[tuple[str, ...], tuple[str, ...]]]) -> tuple[str, str]:
    """Which metric fits, and why.

    Args:
        rows: the answers and the choices of each.
    """
    counts: Counter[str] = Counter()
    for answers, choices in rows:
        counts["all"] += 1
        counts["choices"] += bool(choices)
        counts["ten"] += len(answers) >= 10
        counts["yesno"] += all(text.plain(one) in ("yes", "no") for one in answers)
        counts["none"] += not answers
    total = counts["all"]
    if not total:
        return "exact", "the default, as no row can be used"
    if counts["none"] == total:
        return "exact", "there are no answers: what the unreduced model writes stands for them"
    if counts["choices"] == total:
        return "letter", "every row has choices"
    if counts["yesno"] == total:
        return "yesno", "every answer is yes or no"
    if counts["ten"] == total:
        return "vqa", "every row has ten answers or more"
    return "exact", "the default; metric= takes another"


def summary(scores: Iterable[float], golds: Iterable[str]) -> Mapping[str, float]:
    """Of yes/no questions: accuracy, and precision, recall, F1 (yes is positive), and the share of yes among answers.

    Args:
        scores: of each question, 1 or 0.
        golds: the right answer of each, yes or no.
    """
    counts: Counter[tuple[bool, bool]] = Counter()
    for score, gold in zip(scores, golds, strict=True):
        wanted = gold.casefold() == "yes"
        counts[wanted, wanted == (score == 1)] += 1  # wanted, said
    hit, false = counts[True, True], counts[False, True]
    missed, right = counts[True, False], counts[False, False]
    total = max(1, hit + false + missed + right)
    precision = hit / (hit + false) if hit + false else 0.0
    recall = hit / (hit + missed) if hit + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "accuracy": (hit + right) / total,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "yes_ratio": (hit + false) / total,
    }
