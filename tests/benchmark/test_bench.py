"""The table that comes with the package, asked as a model would be."""

import random
import subprocess
import sys

import numpy as np
import pytest

from eos_platform.benchmark import OperatorBench
from eos_platform.benchmark.space import FAMILIES
from eos_platform.benchmark.table import COSTS, load, metadata
from eos_platform.common.errors import EosError

DESIGN = {"family": "design", "design": "tome", "ratio": 0.2, "knob_number": 0, "knob_choice": 0}
SEARCH = {"family": "searched", "budget": 0.12, "learning_rate": 0.05, "steering_rank": 8}


@pytest.fixture(scope="module")
def bench():
    return OperatorBench("bundled-small")


def test_it_imports_no_library_that_takes_long():
    code = (
        "import sys; from eos_platform.benchmark import OperatorBench; OperatorBench().query(OperatorBench().sample())"
        "; heavy = {'torch', 'ray', 'optuna', 'mlflow', 'plotly', 'pandas'}"
        "; print(*{name.split('.')[0] for name in sys.modules} & heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.slow  # walks through all points
def test_every_point_is_a_row():
    for model in OperatorBench.models():
        bench = OperatorBench(model, FAMILIES)
        points = list(bench.space().points())
        assert len({bench.row(point) for point in points}) == len(points) == len(bench)
        assert len(load(model).rows) == len(points) + 4 * 12  # searches have five rows each


def test_there_are_as_many_operators_as_are_promised():
    tables = [load(model) for model in OperatorBench.models()]
    assert sum(len(set(table.digests)) for table in tables) >= 20_000
    for table in tables:
        rng = random.Random(0)
        for _ in range(100):
            point = table.space.sample(rng)
            assert (table.space.indices(point), 480 if point["family"] == "searched" else 0) in table.rows
        assert len(table.groups) == len(set(table.groups)) > 10
    about = metadata()
    assert (about["licence"], about["every"]) == ("CC-BY-4.0", 1)


def test_fidelities_are_of_the_first_questions(bench):
    right = bench.right(DESIGN)
    assert len(right) == bench.questions
    for count in (1, 128, bench.questions):
        answer = bench.query(DESIGN, ("error", "accuracy"), count)
        assert answer["accuracy"] == pytest.approx(right[:count].mean())
        assert answer["error"] == pytest.approx(1 - answer["accuracy"])
        assert answer.cost == answer.questions == count
    assert bench.query(DESIGN)["error"] == bench.query(DESIGN, questions=bench.questions)["error"]


def test_groups_make_up_the_whole(bench):
    names = [f"accuracy/{group}" for group in bench.groups]
    counts = np.bincount(bench._table.group_q, minlength=len(names))
    answer = bench.query(DESIGN, ("accuracy", *names))
    shares = np.array([answer[name] for name in names])
    assert (shares * counts).sum() / counts.sum() == pytest.approx(answer["accuracy"])


def test_searches_have_steps_and_cost_them(bench):
    searched = OperatorBench("bundled-small", ("searched",))
    answers = [searched.query(SEARCH, steps=steps) for steps in searched.steps]
    assert [answer.steps for answer in answers] == list(searched.steps) == [30, 60, 120, 240, 480]
    assert answers[0].cost == searched.questions + 3 * 30 * 32
    assert searched.query(SEARCH).digest == answers[-1].digest
    assert len({answer.digest for answer in answers}) > 1
    assert all(answer["compute_ratio"] <= 0.12 for answer in answers)
    with pytest.raises(EosError, match="unknown parameter 'budget'"):
        bench.query(SEARCH)


def test_costs_are_those_of_the_operator(bench):
    whole = bench.unreduced(bench.objectives)
    assert whole["compute_ratio"] == 1
    for point in (DESIGN, bench.sample(random.Random(0))):
        answer = bench.query(point, tuple(COSTS))
        operator = bench.operator(point)
        tokens = sum(operator.counts) + operator.target.layers * 9
        assert answer["kv_bytes"] == tokens * 2 * 2 * 4 * 32
        assert answer["kv_bytes"] < whole["kv_bytes"]
        assert 0 < answer["predicted_ms_h200"] < whole["predicted_ms_h200"]


def test_an_operator_of_a_search_comes_from_the_table():
    searched = OperatorBench("bundled-small-v2", ("searched",))
    operator = searched.operator(SEARCH, 120)
    assert operator.target.model == "bundled-small-v2"
    assert operator.sites[0].probe
    assert searched.query(SEARCH, steps=120)["compute_ratio"] <= 0.12


@pytest.mark.parametrize("model", OperatorBench.models())
def test_operators_are_built_as_when_they_were_asked(model):
    bench, rng = OperatorBench(model), random.Random(1)
    for _ in range(30):
        bench.operator(bench.sample(rng))  # refuses another


def test_hypervolume_is_a_share_of_the_whole_spaces():
    bench = OperatorBench("bundled-small", ("design",))
    values = bench.values()
    assert len(values) == len(bench) == 954
    assert bench.hypervolume(values) == pytest.approx(1.0)
    some = bench.hypervolume(values[::50])
    assert 0.5 < some < 1
    assert bench.hypervolume(values[:1]) < some
    assert bench.hypervolume(np.column_stack([1 - values[:, 0], values[:, 1]]), ("accuracy", "compute_ratio")) == (
        pytest.approx(1.0)
    )


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda bench: bench.query(DESIGN, ("eror",)), "unknown objective 'eror'; did you mean 'error'"),
        (lambda bench: bench.query(DESIGN, ("error/colour",)), "unknown group 'colour'; did you mean 'color'"),
        (lambda bench: bench.query(DESIGN, "error"), "a list of names is expected"),
        (lambda bench: bench.query(DESIGN, questions=5000), "a whole number from 1 to"),
        (lambda bench: bench.query(DESIGN, questions=True), "a whole number from 1 to"),
        (lambda bench: bench.query({**DESIGN, "design": "tomee"}), "design: 'tomee' is none of"),
        (lambda bench: bench.hypervolume([[0.1]], ("error",)), "two or three objectives"),
        (lambda bench: OperatorBench("bundled"), "unknown model 'bundled'"),
        (lambda bench: OperatorBench(families="design"), "families: a list of composed"),
        (
            lambda bench: OperatorBench("bundled-small", ("searched",)).query(SEARCH, steps=31),
            "steps: 31 is none of 30",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(bench, asked, says):
    with pytest.raises(EosError, match=says):
        asked(bench)


def test_another_table_must_be_one(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    path = tmp_path / "other.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(EosError, match="not a Parquet file"):
        OperatorBench(path=path)
    parquet.write_table(pyarrow.table({"model": ["a"]}), path)
    with pytest.raises(EosError, match="but not of OperatorBench"):
        OperatorBench(path=path)
    with pytest.raises(EosError, match="nowhere"):
        OperatorBench(path=tmp_path / "nowhere.parquet")
