"""Measures against values worked out by hand, and against what the official evaluations are known to do."""

from __future__ import annotations

import pytest

from eos_platform.common.errors import EosError
from eos_platform.tasks.data.question import Question
from eos_platform.tasks.metrics import text
from eos_platform.tasks.metrics.registry import METRICS, Metric, called_for, summary
from eos_platform.tasks.metrics.vqa_text import read_textvqa, read_vqa


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("Yes.", "yes"),
        ("The  Dog", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("dont", "don't"),
        ("1,000", "1000"),
        ("red/blue", "red blue"),
        ("red / blue", "red blue"),
        ("3.5", "3.5"),
        ("U.S.A.", "usa"),
        ("x-b", "x b"),
        ("it's", "it's"),
        ("what?", "what"),
        ("." * 40, "." * 8),  # 32 at most, as a flag is passed as a count
        ("line\nbreak", "line break"),
    ],
)
def test_vqa_reading(given: str, read: str) -> None:
    assert read_vqa(given) == read


def test_textvqa_reads_in_small_letters_and_parts_the_possessive() -> None:
    assert read_textvqa("McDonald's, Inc?") == "mcdonald 's inc"
    assert read_textvqa("ID'VE") == "id've"  # capitals of the table are never met, in the official code too


@pytest.mark.parametrize(("same", "worth"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_of_ten(same: int, worth: float) -> None:
    golds = ["cat"] * same + [f"other {number}" for number in range(10 - same)]
    assert text.vqa("Cat.", golds) == pytest.approx(worth)


def test_vqa_of_few() -> None:
    assert text.vqa("two", ["2"]) == 1.0
    assert text.vqa("three", ["2", "4"]) == 0.0


@pytest.mark.parametrize(
    ("said", "told", "worth"),
    [
        ("Hello World", ["hello  world"], 1 - 0 / 12),
        ("abcd", ["abxy"], 0.5),  # exactly one half stays
        ("abc", ["axy"], 0.0),
        ("kitten", ["sitting"], 1 - 3 / 7),
        ("", ["a"], 0.0),
        ("b", ["a", "b"], 1.0),
    ],
)
def test_anls(said: str, told: list[str], worth: float) -> None:
    assert text.anls(said, told) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("said", "told", "worth"),
    [
        ("105", "100", 1),
        ("105.1", "100", 0),
        ("95", "100", 1),
        ("0.0", "0", 0),  # of 0 no share can be taken
        ("0", "0", 1),
        ("1,000", "1000", 0),
        ("5%", "0.05", 1),
        ("Yes.", "Yes", 0),
        ("yes", "Yes", 1),
        ("2011", "2010", 1),  # a year is a number there
        ("nan", "5", 0),
        ("inf", "5", 0),
    ],
)
def test_relaxed(said: str, told: str, worth: int) -> None:
    assert text.relaxed(said, [told]) == worth


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("A", "A"), ("b", "B"), ("(B)", "B"), ("B.", "B"), ("C) because", "C"), ("B. a dog", "B"), ("B: x", "B"),
        ("The answer is C.", "C"), ("answer: (D)", "D"), ("a dog", "B"), ("A dog is there", ""), ("E", ""),
        ("", ""), ("I think so", ""), ("CAT", "A"), ("A dog", "B"), ("The answer is Dog", ""),
    ],
)  # fmt: skip
def test_letters(said: str, found: str) -> None:
    assert text.chosen(said, ("cat", "a dog", "a cow", "none")) == found


def test_other_measures() -> None:
    assert text.exact(" Two\n CATS", ["two cats"]) == 1
    assert text.contains("there are 12 of them", ["12"]) == 1
    assert text.contains("there are 12 of them", ["2"]) == 0
    assert text.regex("route 66!", [r"^route \d+"]) == 1
    assert text.yes_no("Well, no: yes") == "no"
    assert text.yes_no("not known") == ""
    with pytest.raises(EosError, match="no regular expression"):
        text.compiled("(")


def test_the_metric_that_rows_call_for() -> None:
    cat = (("cat",), ())
    assert called_for([(("A",), ("x", "y"))] * 3)[0] == "letter"
    assert called_for([(("Yes",), ()), (("no",), ())])[0] == "yesno"
    assert called_for([(("x",) * 10, ())])[0] == "vqa"
    assert called_for([cat, (("yes",), ())])[0] == "exact"
    assert "no answers" in called_for([((), ())])[1]
    assert called_for([])[0] == "exact"


def test_scores_of_others_are_made_sure_of() -> None:
    example = Question(None, "q", ("a",))
    half = METRICS.register("half", Metric(lambda output, example: 0.5))
    assert half.worth("x", example) == 0.5
    for wrong in (1.5, -0.1, float("nan"), None, "1"):
        with pytest.raises(EosError, match="a score is a number from 0 to 1"):
            Metric(lambda output, example, wrong=wrong: wrong).worth("x", example)  # type: ignore[misc]
    METRICS._built_in.pop("half")
    with pytest.raises(EosError, match="unknown metric 'anl'; did you mean 'anls'"):
        METRICS.get_named("anl")


def test_yes_no_summary() -> None:
    """4 wanted yes of which 3 found, 4 wanted no of which 1 was called yes: precision 3/4, recall 3/4."""
    found = summary([1, 1, 1, 0, 1, 1, 1, 0], ["yes"] * 4 + ["no"] * 4)
    assert found == pytest.approx({"accuracy": 0.75, "precision": 0.75, "recall": 0.75, "f1": 0.75, "yes_ratio": 0.5})
