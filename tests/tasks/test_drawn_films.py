"""Drawn films: every answer follows from the pixels, splits share no film, and what is trained on is what is asked."""

from __future__ import annotations

import random
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eos_platform.protocols import SPLITS
from eos_platform.tasks.drawn.base import TRAIN
from eos_platform.tasks.drawn.film_training import Asked
from eos_platform.tasks.drawn.films import COLORS, FRAMES, KINDS, SIDE, STILL, WAYS, Films
from eos_platform.tasks.registry import TASKS

CODES = {name: int(code[1:], 16) for name, code in COLORS.items()}
HALF = SIDE // 2


def coded(frame) -> np.ndarray:
    """A number for each pixel's color."""
    return np.asarray(frame).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def kind_of(mask: np.ndarray) -> str:
    """The shape that a mask within its box shows."""
    rows, columns = mask.shape
    if not mask[rows // 2, columns // 2]:
        return "ring"
    if mask.mean() > 0.95:
        return "square"
    if mask[0].mean() < 0.3 and mask[-1].mean() > 0.9:
        return "triangle"
    return "cross" if mask.mean() < 0.68 else "circle"


def watched(frames: list) -> list[dict]:
    """What is seen in each quarter: its kind, first and last frame, colors in turn, and where it begins and ends."""
    seen: list[dict] = []
    for quarter in range(4):
        rows, columns = (slice(HALF * side, HALF * (side + 1)) for side in (quarter // 2, quarter % 2))
        tracks = []
        for number, frame in enumerate(frames):
            pixels = coded(frame)[rows, columns]
            for color, paint in CODES.items():
                mask = pixels == paint
                if mask.any():
                    y, x = np.nonzero(mask)
                    box = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
                    tracks.append((number, color, kind_of(box), (x.min() + x.max()) / 2, (y.min() + y.max()) / 2))
        if tracks:
            numbers, colors, kinds, xs, ys = zip(*tracks, strict=True)
            assert list(numbers) == list(range(numbers[0], numbers[-1] + 1))  # one shape, there without a break
            moved = {"x": xs[-1] - xs[0], "y": ys[-1] - ys[0]}
            seen.append(
                {
                    "kind": Counter(kinds).most_common(1)[0][0],
                    "comes": numbers[0],
                    "goes": numbers[-1],
                    "colors": [color for k, color in enumerate(colors) if k == 0 or colors[k - 1] != color],
                    **moved,
                }
            )
    return seen


def answered(question: str, seen: list[dict]) -> str:
    """The answer from what was seen."""
    by_kind = {one["kind"]: one for one in seen}
    named = [by_kind[kind] for kind in re.findall("|".join(KINDS), question)]
    if question.startswith("which way"):
        x, y = named[0]["x"], named[0]["y"]
        if max(abs(x), abs(y)) < 4:
            return "nowhere"
        return ("left" if x < 0 else "right") if abs(x) > abs(y) else ("up" if y < 0 else "down")
    if question.startswith("which comes first"):
        return min(named, key=lambda one: one["comes"])["kind"]
    if question == "what color is the first shape?":
        return min(seen, key=lambda one: one["comes"])["colors"][0]
    if question == "which shape is there last?":
        return max(seen, key=lambda one: one["goes"])["kind"]
    if question.startswith("which color"):
        return named[0]["colors"][1] if len(named[0]["colors"]) > 1 else "none"
    if question == "how many shapes are there?":
        return str(len(seen))
    assert question == "how many shapes change color?"
    return str(sum(len(one["colors"]) > 1 for one in seen))


def test_answers_follow_from_the_pixels():
    task = Films()
    for split in (*SPLITS, TRAIN):
        examples = task.examples(split, 36)
        for first in range(0, 36, 6):
            frames = examples[first].image()
            assert len(frames) == FRAMES
            seen = watched(frames)
            assert len({one["comes"] for one in seen}) == len({one["goes"] for one in seen}) == len(seen)
            for one in examples[first : first + 6]:
                assert answered(one.question, seen) == one.answer, (one.key, one.question)


def test_everything_that_can_be_asked_follows_too():
    task, kinds = Films(), Counter()
    for index in range(12):
        key = f"films-search-{index}"
        scene = task.scene(random.Random(key))
        seen = watched(task.picture(key))
        for group, asked in task.everything(scene).items():
            for name, question, answer in asked:
                assert (name, answered(question, seen)) == (group, answer)
                kinds[group] += 1
    assert set(kinds) == set(task.groups)


def test_questions_are_the_same_at_every_call_and_of_their_split_alone():
    task = Films()
    assert TASKS.get_named("films") is Films
    first, again = task.examples("heldout", 30), Films().examples("heldout", 30)
    asked = [(one.question, one.answer, one.group, one.key) for one in first]
    assert asked == [(one.question, one.answer, one.group, one.key) for one in again]
    assert all(np.array_equal(a, b) for a, b in zip(first[0].image(), again[0].image(), strict=True))
    keys = [{one.key for one in task.examples(split, 60)} for split in (*SPLITS, TRAIN)]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 4 * 10
    shown = {np.asarray(one.image()).tobytes() for split in (*SPLITS, TRAIN) for one in task.examples(split, 60)[::6]}
    assert len(shown) == 40


def test_no_answer_is_right_most_of_the_time():
    examples = Films().examples("validation", 1800)
    for group in Films.groups:
        answers = Counter(one.answer for one in examples if one.group == group)
        assert answers.most_common(1)[0][1] < 0.6 * sum(answers.values()), group


@pytest.mark.parametrize("split", [TRAIN, "heldout"])
def test_batches_hold_the_films_their_questions_and_what_is_under_each_token(split):
    def tokenizer(text, add_special_tokens):
        return SimpleNamespace(input_ids=[3 + word % 97 for word in text.encode()][:12])

    tokenizer.eos_token_id = 2
    task = Films()
    (batch,) = Asked(task, tokenizer, 2, split, 1)
    for row in range(2):
        key = f"films-{split}-{row}"
        frames = task.picture(key)
        assert np.array_equal(batch["pixels"][row].numpy(), np.stack([np.asarray(one) for one in frames]))
        asked = int((batch["group"][row] >= 0).sum())
        assert asked == (6 if split == "heldout" else 10)
        for slot in range(asked):
            wanted = batch["answers"][row, slot]
            ids = batch["ids"][row, slot]
            assert ids[wanted][-1] == 2
            assert not ids[int(wanted.nonzero()[-1]) + 1 :].any()
        for number, frame in enumerate(frames):
            present = {int(color) for color in batch["under"][row, number, :, 1]} - {0}
            flat = set(coded(frame).ravel().tolist())
            shown = {1 + at for at, paint in enumerate(CODES.values()) if paint in flat}
            assert present == shown
        shapes = task.scene(random.Random(key)).shapes
        for kind, _, way in batch["under"][row].flatten(0, 1).tolist():  # told once a shape has moved
            if way:
                (shape,) = (one for one in shapes if one.kind == KINDS[kind - 1])
                assert (*WAYS, STILL)[way - 1] == shape.way
        assert batch["under"][row, :, :, 2].any()
    assert torch.equal(next(iter(Asked(task, tokenizer, 2, split, 1)))["ids"], batch["ids"])
