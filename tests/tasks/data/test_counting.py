"""What counts as one question: turned choices, and yes or no with F1, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import lines

from eos_platform.analysis.benchmark.run import UNREDUCED, Asked
from eos_platform.analysis.benchmark.table import rows_of, summary_of
from eos_platform.common.errors import EosError
from eos_platform.tasks.files import Files

ROWS = [
    {"image": "pictures/0.png", "question": "q", "choices": ["x", "y", "z"], "answer": "y"},
    {"image": "pictures/1.png", "question": "r", "choices": ["yes", "no"], "answer": "A"},
]


def test_choices_are_turned_and_count_where_all_turns_are_right(folder: Path) -> None:
    task = Files(lines(folder / "q.jsonl", [{**row, "split": "heldout"} for row in ROWS]), circular=True)
    questions = task.all("heldout")
    assert [(one.choices, one.answers) for one in questions] == [
        (("x", "y", "z"), ("B",)),
        (("y", "z", "x"), ("A",)),
        (("z", "x", "y"), ("C",)),
        (("yes", "no"), ("A",)),
        (("no", "yes"), ("B",)),
    ]
    assert all(one.choices[ord(one.answer) - ord("A")] in ("y", "yes") for one in questions)
    assert len({one.id for one in questions}) == 5
    assert len({one.question for one in questions}) == 5
    always_a = [task.score("A", one) for one in questions]
    assert always_a == [0, 1, 0, 1, 0]
    assert task.summary(questions, always_a) == {"accuracy": 0.0, "rows": 0.4}
    assert task.summary(questions, [1, 1, 1, 1, 0]) == {"accuracy": 0.5, "rows": 0.8}
    scores = {UNREDUCED: (1.0, 1.0, 1.0, 1.0, 0.0)}
    (row,) = rows_of(Asked(task, tuple(questions), scores, {}))
    assert (row["value"], row["low"], row["high"]) == (50, 0, 100)  # two circles, resampled
    plain = Files(folder / "q.jsonl")
    assert len(plain.all("heldout")) == 2
    assert plain.version != task.version
    with pytest.raises(EosError, match="circular: true or false is expected, not 'yes'"):
        Files(folder / "q.jsonl", circular="yes")  # type: ignore[arg-type]


def test_yes_and_no_have_an_f1(folder: Path) -> None:
    """4 wanted yes of which 3 found, 2 wanted no of which 1 was called yes: precision 3/4, recall 3/4."""
    golds = ["yes", "Yes", "yes", "yes", "no", "no"]
    rows = [
        {"image": f"pictures/{n}.png", "question": "q", "answer": gold, "split": "heldout"}
        for n, gold in enumerate(golds)
    ]
    task = Files(lines(folder / "q.jsonl", rows))
    questions = tuple(task.all("heldout"))
    said = ["Yes.", "yes", "It is: yes", "no", "no", "yes!"]
    scores = tuple(task.score(text, one) for text, one in zip(said, questions, strict=True))
    assert scores == (1, 1, 1, 0, 1, 0)
    found = summary_of(Asked(task, questions, {UNREDUCED: scores}, {}), UNREDUCED)
    assert found == pytest.approx(
        {"accuracy": 4 / 6, "precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4, "yes_ratio": 4 / 6}
    )
    assert np.isclose(rows_of(Asked(task, questions, {UNREDUCED: scores}, {}))[0]["value"], 100 * 4 / 6)
