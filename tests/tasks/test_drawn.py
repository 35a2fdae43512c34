"""Small drawn tasks: what is asked is what is drawn, splits share no picture, and a model learns from a batch."""

import random
from collections import Counter

import numpy as np
import pytest

from eos_platform.common.errors import EosError
from eos_platform.protocols import SPLITS
from eos_platform.tasks.drawn.base import TRAIN
from eos_platform.tasks.drawn.crowds import COLORS, Crowds
from eos_platform.tasks.drawn.fabrics import CORNERS, Fabrics
from eos_platform.tasks.drawn.training import main
from eos_platform.tasks.registry import TASKS

TASKS_HERE = (Crowds, Fabrics)


@pytest.mark.parametrize("made", TASKS_HERE)
def test_questions_are_the_same_at_every_call_and_of_their_split_alone(made):
    task = made(96)
    assert TASKS.get_named(task.name) is made
    first, again = task.examples("heldout", 40), made(96).examples("heldout", 40)
    asked = [(one.question, one.answer, one.group, one.key) for one in first]
    assert asked == [(one.question, one.answer, one.group, one.key) for one in again]
    assert np.array_equal(np.asarray(first[4].image()), np.asarray(again[4].image()))
    assert [one.group for one in first[:3]] == list(task.groups)
    keys = [{one.key for one in task.examples(split, 60)} for split in (*SPLITS, TRAIN)]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 4 * 20
    assert all(task.score(f" {one.answer}\n", one) == 1 for one in first)
    assert task.score("no idea", first[0]) == 0
    later = task.pictures("heldout", 5, 2)
    assert [(one.question, one.key) for one in later] == [(one.question, one.key) for one in first[15:21]]
    with pytest.raises(EosError, match="split"):
        task.examples("test", 3)


@pytest.mark.parametrize("side", [0.5, 20, 5000, True, "96"])
def test_sides_that_cannot_be(side):
    with pytest.raises(EosError, match="side: 64 to 1024 pixels"):
        Crowds(side)


def test_crowds_are_counted_in_the_picture():
    """Pixels of a color lie in as many cells as there are marks of it; the answers follow."""
    task = Crowds(450)
    for index in range(12):
        examples = task.examples("search", 3 * (index + 1))[-3:]
        pixels, cell = np.asarray(examples[0].image()).astype(int), 450 // 9
        counts = Counter()
        for color, code in COLORS.items():
            wanted = [int(code[start : start + 2], 16) for start in (1, 3, 5)]
            hits = (np.abs(pixels - wanted).sum(-1) == 0).reshape(9, cell, 9, cell).sum((1, 3))
            counts[color] = int((hits > 0).sum())
        words = [one.question.split() for one in examples]
        assert examples[0].answer == str(counts[words[0][2]])
        assert examples[1].answer == counts.most_common(1)[0][0]
        assert examples[2].answer == ("yes" if counts[words[2][3]] > counts[words[2][6]] else "no")


def test_a_flaw_is_where_the_answer_says():
    """The same fabric without its flaw differs within one quarter alone, the one that is named."""
    task, seen = Fabrics(200), Counter()
    for index in range(24):
        key = f"fabrics-search-{index}"
        rng, plain = random.Random(key), random.Random(key)
        scene = task.scene(rng)
        flawless = task.scene(plain)._replace(flaw="")
        apart = np.abs(np.asarray(task.drawn(scene, rng)).astype(int) - np.asarray(task.drawn(flawless, plain))).sum(-1)
        answers = {group: answer for group, _, answer in task.questions(scene, key)}
        quarters = [apart[:100, :100], apart[:100, 100:], apart[100:, :100], apart[100:, 100:]]
        touched = [CORNERS[number] for number, quarter in enumerate(quarters) if quarter.any()]
        assert touched == ([answers["where"]] if answers["flawed"] == "yes" else [])
        seen[answers["flawed"]] += 1
    assert min(seen["yes"], seen["no"]) > 4


def test_a_bundled_model_is_trained_and_examined(tmp_path, capsys):
    words = [
        "--task",
        "fabrics,crowds,scenes-v2",
        "--model",
        "bundled-small-v2",
        "--minutes",
        "0.03",
        "--pictures",
        "4",
        "--device",
        "cpu",
    ]
    assert main([*words, "--questions", "12", "--out", str(tmp_path / "model")]) == 0
    told = capsys.readouterr().out
    assert "held out, fabrics: " in told
    assert "held out, crowds: " in told
    assert "held out, scenes-v2: " in told
    assert (tmp_path / "model" / "config.json").exists()
    assert main(["--task", "crowd", "--out", str(tmp_path / "other")]) == 2
    assert "crowds" in capsys.readouterr().err
