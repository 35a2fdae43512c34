"""OperatorBench under Ray Tune: what a trainable reports, and a run on a real cluster of one machine."""

import random

import pytest

from eos_platform.benchmark import OperatorBench
from eos_platform.benchmark.with_ray import param_space, trainable
from eos_platform.common.errors import EosError


@pytest.fixture
def reports(monkeypatch):
    found = []
    monkeypatch.setattr("ray.tune.report", found.append)
    return found


def test_reports_are_of_ever_more_questions(reports):
    bench = OperatorBench("bundled-small")
    config = bench.sample(random.Random(0))
    trainable(rungs=(64, 256))(config)
    assert [one["questions"] for one in reports] == [64, 256, bench.questions]
    for report in reports:
        answer = bench.query(config, questions=report["questions"])
        assert (report["error"], report["compute_ratio"]) == (answer["error"], answer["compute_ratio"])


def test_reports_are_of_ever_more_steps(reports):
    bench = OperatorBench("bundled-small", ("searched",))
    trainable(families=("searched",), fidelity="steps")(bench.sample(random.Random(0)))
    assert [one["steps"] for one in reports] == list(bench.steps)
    with pytest.raises(EosError, match="only searched operators have steps"):
        trainable(fidelity="steps")


def test_the_space_has_every_choice():
    space = OperatorBench("bundled-small").space()
    drawn = param_space(space)
    assert {name: tuple(domain.categories) for name, domain in drawn.items()} == {
        one.name: one.choices for one in space.parameters
    }


@pytest.mark.slow  # starts Ray
def test_tune_stops_trials_by_their_first_questions(tmp_path):
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        asha = ASHAScheduler(time_attr="questions", grace_period=64, max_t=512, reduction_factor=2)
        settings = tune.TuneConfig(metric="error", mode="min", num_samples=12, scheduler=asha)
        space = param_space(OperatorBench("bundled-small").space())
        storage = tune.RunConfig(storage_path=str(tmp_path), verbose=0)
        results = tune.Tuner(trainable(), param_space=space, tune_config=settings, run_config=storage).fit()
    finally:
        ray.shutdown()
    assert not results.errors
    asked = [result.metrics["questions"] for result in results]
    assert len(asked) == 12
    assert min(asked) < max(asked) == 512
    best = results.get_best_result()
    assert best.metrics["error"] == OperatorBench("bundled-small").query(best.config)["error"]
