"""A worker asks points their questions, stops in time, and goes on where it or another stopped."""

import numpy as np
import pytest

from eos_platform.benchmark import Space
from eos_platform.benchmark.make.asked import Asked
from eos_platform.benchmark.make.collect import Collected, counted
from eos_platform.benchmark.make.shards import Shard, read
from eos_platform.benchmark.make.work import Worker, hash_of
from eos_platform.benchmark.table import unpacked
from eos_platform.common.errors import EosError
from eos_platform.tasks.evaluate import evaluate

MODEL, QUESTIONS = "bundled-small", 24


@pytest.fixture(scope="module")
def asked():
    return Asked(MODEL, "cpu", QUESTIONS)


def worker(asked, folder, name="one", **other):
    made = Worker((MODEL,), "cpu", folder, name, name, 60.0, ("design",), QUESTIONS, 300, **other)
    made.asked[MODEL] = asked
    return made


def test_points_are_asked_once_by_whoever_comes(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = []
    first = worker(asked, tmp_path, say=said.append)
    assert first.run_all() == 5  # four points and the unreduced model
    assert said == ["one: bundled-small, questions 0 on, point 0 of 4"]
    assert worker(asked, tmp_path, "two").run_all() == 0
    lines = list(read(tmp_path, "answers"))
    assert len(lines) == 5
    space = Space(asked.operators.knobs)
    points = {space.indices(space.canonical(point)): point for point in Space(space.designs, ("design",)).points()}
    for line in lines[:3]:
        point = points.get(tuple(line["at"]))
        operator = asked.operators.of(space.canonical(point)) if point else None
        right = unpacked(line["right"], QUESTIONS)
        assert (right == evaluate(asked.workload, operator, "heldout", QUESTIONS).correct).all()


def test_a_worker_without_time_leaves_the_rest(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    late = worker(asked, tmp_path)
    late.seconds = 0.0
    assert late.run_all() == 1  # what the unreduced model answers is needed for anything
    assert not [line for line in read(tmp_path, "answers") if line["at"]]


def test_batches_that_are_kept_answer_as_new_ones(asked):
    """An operator that reads more of the vision tower must not be given what was kept for one that reads less."""
    names = ("stride", "prumerge", "stride", "tome-tower", "stride")
    space = Space(asked.operators.knobs)
    config = {"family": "design", "ratio": 0.3, "knob_number": 0, "knob_choice": 0}
    made = [asked.operators.of(space.canonical(config | {"design": name})) for name in names]
    found = [asked.answers(operator, 0) for operator in made]
    assert (found[0] == found[2]).all()
    assert (found[2] == found[4]).all()
    assert len({tuple(one) for one in found}) > 1
    for right, operator in zip(found[1:4:2], made[1:4:2], strict=True):
        assert (right == evaluate(asked.workload, operator, "heldout", QUESTIONS).correct).all()


def answer(at, steps, digest, asked=512):
    return {
        "model": MODEL, "at": at, "steps": steps, "digest": digest, "block": 0, "asked": asked, "right": "AA==",
    }  # fmt: skip


def test_answers_of_a_search_that_was_stopped_count_nowhere(tmp_path):
    Shard(tmp_path, "answers", "a").add([answer([1], 30, "old"), answer([1], 30, "new"), answer([2], 0, "x")])
    Shard(tmp_path, "searched", "a").add([{"model": MODEL, "at": [1], "steps": 30, "digest": "new", "operator": "{}"}])
    found = Collected.of(tmp_path)
    assert found.digests == {(MODEL, (1,), 30): "new", (MODEL, (2,), 0): "x"}
    assert counted(tmp_path) == [
        "bundled-small      points                 questions     0 on:      1",
        "bundled-small      snapshots of searches  questions     0 on:      1",
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([answer([2], 0, "x"), answer([2], 0, "y")], "two operators"),
        ([answer([2], 0, "x", asked=24)], "24 questions"),
    ],
)
def test_shards_that_do_not_go_together_are_refused(tmp_path, lines, says):
    Shard(tmp_path, "answers", "a").add(lines)
    with pytest.raises(EosError, match=says):
        Collected.of(tmp_path)


def test_coordinates_are_scattered_alike_everywhere():
    numbers = [hash_of((a, b)) for a in range(20) for b in range(20)]
    assert len(set(numbers)) == 400
    assert hash_of((1, 2, 3)) == 3119522402
    assert np.std(np.diff(sorted(numbers))) < 3 * np.mean(np.diff(sorted(numbers)))
