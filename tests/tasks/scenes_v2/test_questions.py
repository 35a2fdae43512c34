"""Questions: balanced, graded, pointing at what they ask about."""

from collections import Counter, defaultdict

import pytest

from eos_platform.tasks import scenes_v2
from eos_platform.tasks.scenes_v2.catalogue import COUNTS
from eos_platform.tasks.scenes_v2.questions import GROUP_OF, SKILLS
from eos_platform.tasks.scenes_v2.questions.phrasing import difficulty


@pytest.fixture(scope="module")
def many():
    return scenes_v2.examples("train", 4000, 336)


def test_examples_are_deterministic_and_in_order(many):
    assert scenes_v2.examples("train", 60, 336) == many[:60]
    assert [e.picture for e in many] == sorted(e.picture for e in many)
    assert {e.skill for e in many} == set(SKILLS)
    assert all(e.group == GROUP_OF[e.skill] for e in many)


def test_yes_and_no_are_balanced(many):
    answers = defaultdict(Counter)
    for e in many:
        if e.answer in ("yes", "no"):
            answers[e.skill][e.answer] += 1
    assert set(answers) == {"existence", "relation", "same", "size", "search", "rows", "higher"}
    for skill, counts in answers.items():
        assert 0.38 < counts["yes"] / sum(counts.values()) < 0.62, (skill, counts)


def test_no_other_answer_is_worth_guessing(many):
    answers = defaultdict(Counter)
    for e in many:
        answers[e.skill][e.answer] += 1
    for skill, counts in answers.items():
        if "yes" not in counts:
            assert max(counts.values()) < 0.4 * sum(counts.values()), skill


def test_counts_reach_twelve():
    seen = {e.answer for e in scenes_v2.examples("train", 3000, 504) if e.skill == "counting"}
    assert seen <= set(COUNTS)
    assert {"one", "nine", "twelve"} <= seen


def test_answers_of_one_word_several_tokens_and_two_words(many):
    assert any(" " in e.answer for e in many)
    assert {e.answer for e in many if e.skill == "title"} > {"honey"} or len({e.answer for e in many}) > 400


def test_difficulty_is_graded(many):
    assert [difficulty(1, 3), difficulty(2, 3), difficulty(3, 3)] == [1, 2, 3]
    assert [difficulty(1, 9), difficulty(2, 9), difficulty(3, 9)] == [2, 3, 3]
    shares = Counter(e.difficulty for e in many)
    assert set(shares) == {1, 2, 3}
    assert min(shares.values()) > 0.1 * len(many)
    assert {e.difficulty for e in many if e.skill == "difference"} == {3}
    assert 1 in {e.difficulty for e in many if e.skill == "color"}


def test_places_lie_in_the_picture(many):
    for e in many:
        assert len(e.places) <= 2
        assert all(0 <= x < 336 and 0 <= y < 336 for x, y in e.places)
    assert all(len(e.places) == 2 for e in many if e.skill in ("relation", "nearest", "rows", "higher"))
