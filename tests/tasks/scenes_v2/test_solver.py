"""Every answer agrees with a solver that reads the scene alone, and changes when the scene does."""

from dataclasses import replace

import pytest

from eos_platform.common.errors import EosError
from eos_platform.tasks.scenes_v2 import questions_of, solve
from eos_platform.tasks.scenes_v2.catalogue import CODES
from eos_platform.tasks.scenes_v2.layout import SPLITS, make_scene
from eos_platform.tasks.scenes_v2.questions import SKILLS
from eos_platform.tasks.scenes_v2.scene import Objects, Scene, Thing


@pytest.mark.parametrize("size", [112, 168, 336, (448, 224), 672])
def test_the_solver_agrees_with_every_answer(size):
    asked = set()
    for split in SPLITS:
        for index in range(50):
            scene = make_scene(split, index, size)
            for question in questions_of(split, index, size):
                assert solve(scene, question.text) == question.answer, question
                asked.add(question.skill)
    assert asked >= set(SKILLS) - ({"title", "entry"} if size == 112 else set())


CAT = Thing("cat", CODES["cat"], "red", 30, 40, 32)
DOG = Thing("dog", CODES["dog"], "blue", 80, 40, 48)
OWL = Thing("owl", CODES["owl"], "blue", 80, 90, 28)


def scene_of(*things):
    return Scene(112, 112, (Objects((0, 0, 112, 112), "sand", things, 0),), 0)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("is there a red cat?", "yes"),
        ("is there a blue cat?", "no"),
        ("is there an owl?", "yes"),
        ("how many blue things are there?", "two"),
        ("how many cat things are there?", "one"),
        ("what color is the owl?", "blue"),
        ("what is the red thing?", "cat"),
        ("what is nearest to the dog?", "cat"),
        ("is the cat left of the dog?", "yes"),
        ("is the owl above the dog?", "no"),
        ("are the dog and the owl of the same color?", "yes"),
        ("is the cat larger than the dog?", "no"),
        ("in which corner is the owl?", "bottom right"),
        ("what is the ground under the cat?", "sand"),
    ],
)
def test_answers_by_hand(question, answer):
    scene = scene_of(CAT, DOG, OWL)
    if question == "what is nearest to the dog?":
        scene = scene_of(replace(CAT, x=50), DOG, OWL)
    assert solve(scene, question) == answer


def test_a_moved_object_changes_the_answer():
    assert solve(scene_of(replace(CAT, x=100), DOG), "is the cat left of the dog?") == "no"


@pytest.mark.parametrize("question", ["what color is the blue thing?", "what is the price of oak?", "who is there?"])
def test_what_the_picture_does_not_answer_is_refused(question):
    with pytest.raises(EosError):
        solve(scene_of(CAT, DOG, OWL), question)
