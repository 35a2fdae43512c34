"""What counts as one question of own data, and the numbers of many: circles of turned choices, yes and no with F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eos_platform.tasks.data.question import Question, letter
from eos_platform.tasks.metrics.registry import summary
from eos_platform.tasks.metrics.text import plain


def turns(choices: Sequence[str], circular: bool) -> int:
    """How often a question is asked."""
    return len(choices) if circular and choices else 1


def turned(choices: tuple[str, ...], golds: tuple[str, ...], turn: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choices turned on by ``turn`` places, and the letters that are right then."""
    if not turn:
        return choices, golds
    places = [(ord(one) - ord("A") - turn) % len(choices) for one in golds]
    return choices[turn:] + choices[:turn], tuple(map(letter, places))


def units(questions: Sequence[Question], circular: bool) -> list[list[int]]:
    """Places of questions that count as one: a question, or all turns of one."""
    rows: dict[str, list[int]] = {}
    for place, one in enumerate(questions):
        rows.setdefault(one.facts["row"] if circular else str(place), []).append(place)
    return list(rows.values())


def summed_up(
    questions: Sequence[Question], scores: Sequence[float], metric: str, circular: bool
) -> Mapping[str, float]:
    """Accuracy, and what else the metric calls for.

    Args:
        questions: that were asked.
        scores: of each.
        metric: by name.
        circular: whether choices were turned.
    """
    mean = sum(scores) / len(scores)
    if circular:
        circles = [min(scores[place] for place in unit) for unit in units(questions, True)]
        return {"accuracy": sum(circles) / len(circles), "rows": mean}
    if metric == "yesno" and all(one.answers for one in questions):
        return summary(scores, [plain(one.answer) for one in questions])
    return {"accuracy": mean}
