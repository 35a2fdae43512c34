"""Scenes and their questions: deterministic, splits apart, answers true by a solver that only reads the words."""

import hashlib
import re

import numpy as np
import pytest

from eos_platform.common.errors import EosError
from eos_platform.tasks.scenes import CONFIGS, SPLITS, Scene, Thing, make_scene, split_of_sign
from eos_platform.tasks.scenes.encode import first_questions, questions_of
from eos_platform.tasks.scenes.questions import NUMBERS, SKILLS
from eos_platform.tasks.scenes.render import render


def solve(scene: Scene, question: str) -> str:
    """The answer from the words of the question and the scene as data, without the generator's code."""

    def matching(words: str) -> list[Thing]:
        def fits(thing: Thing, word: str) -> bool:
            word = {"crosses": "cross"}.get(word, word.removesuffix("s") if word != "cross" else word)
            return word == "object" or word in (thing.color, thing.shape, thing.pattern, thing.size)

        return [t for t in scene.things if all(fits(t, word) for word in words.split())]

    def one(words: str) -> Thing:
        found = matching(words)
        assert len(found) == 1, (question, found)
        return found[0]

    bars = dict(scene.bars)
    if m := re.fullmatch(r"is there an? (.+)\?", question):
        return "yes" if matching(m[1]) else "no"
    if m := re.fullmatch(r"how many (.+) are there\?", question):
        return NUMBERS[len(matching(m[1]))]
    if m := re.fullmatch(r"what (color|shape) is the (.+)\?", question):
        return getattr(one(m[2]), m[1])
    if m := re.fullmatch(r"what pattern is on the (.+)\?", question):
        return one(m[1]).pattern
    if m := re.fullmatch(r"is the (.+) large or small\?", question):
        return one(m[1]).size
    if m := re.fullmatch(r"is the (.+) (left of|right of|above|below) the (.+)\?", question):
        a, b = one(m[1]), one(m[3])
        true = {"left of": a.x < b.x, "right of": a.x > b.x, "above": a.y < b.y, "below": a.y > b.y}[m[2]]
        return "yes" if true else "no"
    if m := re.fullmatch(r"in which corner is the (.+)\?", question):
        thing, half = one(m[1]), scene.config.size / 2
        return f"{'top' if thing.y < half else 'bottom'} {'left' if thing.x < half else 'right'}"
    if question == "what does the sign say?":
        return scene.sign
    if m := re.fullmatch(r"which bar is the (tallest|shortest)\?", question):
        best = (max if m[1] == "tallest" else min)(bars.values())
        (color,) = [c for c, level in bars.items() if level == best]
        return color
    if m := re.fullmatch(r"how tall is the (\w+) bar\?", question):
        return NUMBERS[bars[m[1]]]
    if m := re.fullmatch(r"are there more (.+) than (.+)\?", question):
        return "yes" if len(matching(m[1])) > len(matching(m[2])) else "no"
    if m := re.fullmatch(r"what is the ground at the (left|right|top|bottom)\?", question):
        assert (m[1] in ("left", "right")) == scene.upright
        return scene.grounds[m[1] in ("right", "bottom")]
    raise AssertionError(question)


@pytest.mark.parametrize("grid", sorted(CONFIGS))
def test_answers_are_true_and_balanced(grid: int) -> None:
    asked = {skill: [] for skill in SKILLS}
    for index in range(300):
        scene = make_scene("heldout", index, CONFIGS[grid])
        for question in questions_of("heldout", index, CONFIGS[grid]):
            assert solve(scene, question.text) == question.answer, question
            asked[question.skill].append(question.answer)
    for skill, answers in asked.items():
        assert len(answers) > 150, skill
        most = max(answers.count(answer) for answer in set(answers)) / len(answers)
        assert most < 0.62, (skill, most)  # no skill can be answered by always saying the same


def test_places_lie_on_what_is_named() -> None:
    config = CONFIGS[24]
    for index in range(50):
        scene = make_scene("train", index, config)
        for question in questions_of("train", index, config):
            assert all(0 <= x < config.size and 0 <= y < config.size for x, y in question.places)
            if question.skill in ("color", "shape", "pattern", "size", "location"):
                assert question.places[0] in {(t.x, t.y) for t in scene.things}


def test_the_same_index_gives_the_same_picture_and_questions() -> None:
    for grid, config in CONFIGS.items():
        first, again = (render(make_scene("search", 5, config)) for _ in range(2))
        assert first.shape == (14 * grid, 14 * grid, 3)
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, again)
        assert questions_of("search", 5, config) == questions_of("search", 5, config)


def test_splits_share_no_sign_and_no_picture() -> None:
    config = CONFIGS[12]
    signs = {split: {make_scene(split, k, config).sign for k in range(150)} for split in SPLITS}
    pictures = {
        split: {hashlib.sha256(render(make_scene(split, k, config)).tobytes()).digest() for k in range(20)}
        for split in SPLITS
    }
    for one in SPLITS:
        assert all(split_of_sign(sign) == one for sign in signs[one])
        assert len(pictures[one]) == 20
        for other in SPLITS:
            if one != other:
                assert not signs[one] & signs[other]
                assert not pictures[one] & pictures[other]


def test_first_questions_nest() -> None:
    short, long = (first_questions("heldout", count, CONFIGS[12]) for count in (20, 50))
    assert long[0][:20] == short[0]
    assert long[1][:20] == short[1]
    assert len(long[1]) == 50


def test_objects_do_not_overlap_and_stay_inside() -> None:
    for config in CONFIGS.values():
        for index in range(60):
            things = make_scene("train", index, config).things
            for number, a in enumerate(things):
                assert min(a.x, a.y) - a.radius >= 0
                assert max(a.x, a.y) + a.radius < config.size
                for b in things[:number]:
                    assert max(abs(a.x - b.x), abs(a.y - b.y)) >= a.radius + b.radius


def test_unknown_split_is_refused() -> None:
    with pytest.raises(EosError, match="unknown split 'held-out'; did you mean 'heldout'"):
        make_scene("held-out", 0, CONFIGS[12])  # type: ignore[arg-type]
