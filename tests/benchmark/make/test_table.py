"""From shards to a Parquet and back: coordinates, answers and costs stand where they belong."""

import base64
from pathlib import Path

import numpy as np
import pytest

import eos_platform
from eos_platform.benchmark import Space
from eos_platform.benchmark.make.asked import Asked
from eos_platform.benchmark.make.shards import Shard
from eos_platform.benchmark.make.table import build
from eos_platform.benchmark.operators import digest
from eos_platform.benchmark.table import COSTS, load, metadata
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec

MODEL, HOME = "bundled-small", Path(eos_platform.__file__).parent / "studies" / "results" / "device-profiles"
PROFILES = {
    "cuda": HOME / "llava-1.5-7b-h200.json",
    "cpu": HOME / "bundled-small-cpu.json",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Shards of a few points with answers drawn at random, and their points, operators and answers."""
    folder, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    operators = Asked(MODEL, "cpu", 1).operators
    space = Space(operators.knobs)
    points = [
        *(point for number, point in enumerate(space.points()) if number in (7, 4000, 10_950)),
        space.canonical({"family": "design", "design": "tome-tower", "ratio": 0.2, "knob_number": 0, "knob_choice": 0}),
    ]
    search = space.canonical({"family": "searched", "budget": 0.12, "learning_rate": 0.05, "steering_rank": 0})
    found = OperatorSpec(target=operators.target, sites=operators.of(points[0]).sites, name="found")
    rows = [((), 0, None), *((space.indices(point), 0, operators.of(point)) for point in points)]
    rows.append((space.indices(search), 60, found))
    known = {}
    for at, steps, operator in rows:
        right = rng.random(512) < 0.7
        known[at, steps] = operator, right
        line = {"model": MODEL, "at": list(at), "steps": steps, "digest": digest(operator) if operator else ""}
        packed = base64.b64encode(np.packbits(right).tobytes()).decode()
        Shard(folder, "answers", "one").add([line | {"block": 0, "asked": 512, "right": packed}])
        if steps:
            Shard(folder, "searched", "one").add([line | {"operator": operator.to_json()}])
    Shard(folder, "times", "cuda").add(
        [{"model": MODEL, "at": list(rows[1][0]), "steps": 0, "device": "cuda", "ms": 9.5}]
    )
    return folder, known


@pytest.mark.slow  # walks through all points
def test_a_table_says_what_the_shards_said(made, tmp_path):
    folder, known = made
    path = tmp_path / "small.parquet"
    (said,) = build(folder, path, [MODEL], PROFILES, every=2000)
    assert said.startswith("5 rows, 4 distinct operators, 512 questions")
    table = load(MODEL, str(path))
    assert {*table.rows, ((), 0)} == set(known)
    for key, row in table.rows.items():
        operator, right = known[key]
        assert (table.right_rq[row] == right).all()
        assert table.digests[row] == digest(operator)
        costs = {name: values[row] for name, values in table.costs.items()}
        assert 0 < costs["compute_ratio"] < 1
        tower = operator.sees_less
        assert np.isnan(costs["predicted_ms_h200"]) == np.isnan(costs["predicted_ms_cpu"]) == tower
    first = table.costs["measured_ms_h200"][min(table.rows.values())]
    assert (first, np.nansum(table.costs["measured_ms_cpu"])) == (9.5, 0.0)
    about = metadata(path)
    assert set(COSTS) - {"measured_ms_h200", "measured_ms_cpu"} < set(about["models"][MODEL]["unreduced"])
    assert about["every"] == 2000


@pytest.mark.slow  # walks through all points
def test_a_table_with_holes_is_not_made(made, tmp_path):
    with pytest.raises(EosError, match=r"points of bundled-small have not been asked"):
        build(made[0], tmp_path / "whole.parquet", [MODEL], PROFILES)
    with pytest.raises(EosError, match="the shards hold nothing of bundled-small-v2"):
        build(made[0], tmp_path / "whole.parquet", ["bundled-small-v2"], PROFILES)
    assert not (tmp_path / "whole.parquet").exists()
