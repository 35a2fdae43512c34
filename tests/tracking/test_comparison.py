"""A comparison in MLflow: written, read back, and written again."""

import pytest

from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking import names, read_study
from eos_platform.tracking.comparison import ComparisonLog

TARGET = Target(layers=4, grid=(4, 4))
OPERATOR = OperatorSpec(name="fastv-3", target=TARGET, sites=(SiteSpec(layer=1, keep=3, selector="random"),))


def record(name, family="hand-designed", **changes):
    values = {
        "key": name,
        "name": name,
        "family": family,
        "variant": "published",
        "design": "fastv",
        "ratio": 0.3,
        "seed": None,
        "status": "measured",
        "knobs": {"layer": 1},
        "regime": "prune",
        "accuracy": 0.5,
        "questions": 64,
        "compute_ratio": 0.29,
        "mean_tokens": 5.5,
        "tokens_left": 3,
        "samples": 0,
        "counted_flops": 10**9,
        "whole_model_ratio": 0.5,
        "prefill_ms": 1.5,
        "per_skill": {"counting": 0.25},
        "operator": OPERATOR.model_dump(mode="json"),
    }
    return values | changes


@pytest.fixture
def make_log(uri, tmp_path, request):
    return lambda: ComparisonLog(uri, request.node.name, "uid", (tmp_path / "artifacts").as_uri())


def test_every_operator_is_a_run_told_apart_by_its_tags(make_log, uri, request):
    records = [
        record("fastv at 0.3"),
        record("fastv at 0.3, tuned", variant="tuned", samples=640),
        record("searched", "searched", variant="", design="", seed=1, validation=0.7, memory_mb=12.0, knobs={}),
        record("unreduced", "unreduced", variant="", design="", ratio=None, operator=None, regime="identity", knobs={}),
        {"key": "lost", "status": "unreachable", "name": "vtw at 0.05"},
    ]
    intervals = {line["key"]: (0.4, 0.6) for line in records[:-1]}
    log = make_log()
    assert log.operators(records, intervals) == 4
    log.summary({"report.md": "words"}, {"hypervolume/searched": 0.3})
    log.close("FINISHED")
    records[0]["accuracy"] = 0.75
    again = make_log()
    assert again.parent == log.parent
    assert again.operators(records, intervals) == 4

    found = read_study(request.node.name, uri).set_index("name")
    assert len(found) == 4
    assert found["family"].to_dict() == {
        "fastv at 0.3": "hand-designed",
        "fastv at 0.3, tuned": "hand-designed",
        "searched": "searched",
        "unreduced": "unreduced",
    }
    assert set(found["status"]) == {"FINISHED"}
    assert found.loc["fastv at 0.3", names.HELDOUT_ACCURACY] == 0.75
    assert found.loc["searched", names.ACCURACY] == 0.7
    assert found.loc["searched", names.MEMORY_MB] == 12.0
    assert found.loc["searched", names.skill("counting")] == 0.25
    assert found.loc["fastv at 0.3", "operator"] == OPERATOR
    assert found.loc["unreduced", "operator"] is None
    assert found.loc["fastv at 0.3", ["params.layer", "params.ratio"]].tolist() == ["1", "0.3"]
    tags = {run.info.run_name: run.data.tags for run in log._search("")}
    assert tags["fastv at 0.3, tuned"][names.VARIANT] == "tuned"
    assert names.VARIANT not in tags["searched"]
    assert log.client.get_run(log.parent).data.metrics == {"hypervolume/searched": 0.3}
    assert [file.path for file in log.client.list_artifacts(log.parent)] == ["report.md"]
