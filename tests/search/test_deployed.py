"""What is deployed on the way: the schedule and the step that answer best are taken, on so many questions at most."""

import pytest
import torch

from eos_platform.models.attention.text_queries import question
from eos_platform.operators.spec import OperatorSpec
from eos_platform.operators.steer import steered
from eos_platform.search import SearchConfig, search
from eos_platform.search.deployed import COMPARED, STEEPNESS, TRIED_LEAST, TRIED_MOST
from eos_platform.search.run import Searching
from eos_platform.tasks import Workload


def test_of_the_schedules_the_one_that_deploys_best_is_taken(
    small: Workload, tiny: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Searching(small, tiny.model_copy(update={"budget": 0.4}), None, None, {})
    run.parameters.keep.data[1] = 0.0
    tried: list[tuple[int, ...]] = []

    def loss(counts: tuple[int, ...]) -> float:
        tried.append(counts)
        return 1.0 / len(tried)

    monkeypatch.setattr(run.deployed, "loss", loss)
    best = run.deployed.best_counts()
    assert best == tried[-1]
    assert len(set(tried)) == len(tried) == len(STEEPNESS)
    assert tried[0] == run.deployed.whole_counts()
    assert tried[1][0] == tried[1][1]  # flat: all is reduced at the first site
    # the more leave at the second site, the more may stay at the first
    assert [counts[0] for counts in sorted(tried, key=lambda counts: -counts[1])] == sorted(
        counts[0] for counts in tried
    )


@pytest.mark.parametrize(("steps", "share", "times"), [(10, 0.2, 2), (20, 0.3, COMPARED), (12, 0.75, COMPARED)])
def test_of_the_last_steps_the_one_that_deploys_best_is_taken(
    small: Workload, tiny: SearchConfig, monkeypatch: pytest.MonkeyPatch, steps: int, share: float, times: int
) -> None:
    run = Searching(small, tiny.model_copy(update={"steps": steps, "straight_through": share}), None, None, {})
    found: dict[int, OperatorSpec] = {}

    def loss(counts: tuple[int, ...]) -> float:
        step = run.progress.step
        if run.parameters.fixed is None:
            return 1.0
        found[step] = run.deployed.operator()
        return abs(len(found) - 2) + 1.0  # the second is best

    monkeypatch.setattr(run.deployed, "loss", loss)
    result = run.run()
    assert len(found) == times
    assert max(found) == steps
    assert min(found) > run.soft_steps
    second = sorted(found)[1]
    assert result.operator.sites == found[second].sites != found[min(found)].sites
    assert run.progress.best == 1.0


def test_without_a_straight_through_stage_the_last_step_is_deployed(small: Workload, tiny: SearchConfig) -> None:
    config = tiny.model_copy(update={"straight_through": 0.0})
    result = search(small, config)
    assert result.samples == config.steps * config.batch_size
    assert 0.95 * config.budget <= result.compute_ratio <= config.budget


@pytest.mark.parametrize(("batch_size", "asked"), [(1, TRIED_LEAST), (16, 256), (64, TRIED_MOST), (4096, TRIED_MOST)])
def test_schedules_are_tried_on_a_bounded_number_of_questions(
    small: Workload, tiny: SearchConfig, monkeypatch: pytest.MonkeyPatch, batch_size: int, asked: int
) -> None:
    run = Searching(small, tiny.model_copy(update={"batch_size": batch_size}), None, None, {})
    assert run.deployed.tried_on == asked
    run.deployed.loss((20, 20))
    assert run.progress.samples == tiny.search_questions  # no more than there are


def test_as_many_tokens_compete_as_may_stay_and_a_margin(small: Workload, tiny: SearchConfig) -> None:
    few = Searching(small, tiny, None, None, {}).deployed
    assert float(few.counts(0.15).amax()) + 32 < few.candidates(0.15) < few.candidates(0.25) < small.target.tokens
    many = Searching(small, tiny.model_copy(update={"budget": 0.9}), None, None, {}).deployed
    assert many.candidates(0.9) == small.target.tokens


def test_what_questions_have_in_common_turns_nothing(small: Workload, tiny: SearchConfig) -> None:
    run = Searching(small, tiny, None, None, {})
    batch = run.encoded.batch(torch.arange(len(run.encoded)))
    asked = question(batch.x_bsd, batch.layout.text_bs)  # as an operator at work sees it: no answer in it
    torch.testing.assert_close(run.parameters.mean_question, asked.mean(0), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        run.parameters.probe[0] = torch.linspace(-1.0, 1.0, small.shape.hidden)
        run.parameters.direction_delta[0] = torch.linspace(1.0, -2.0, 8 * small.shape.hidden).view(8, -1)
        site = run.parameters.sites(torch.full((2,), 9.0))[0]
        assert site.probe is not None
        assert site.steering is not None
        usual, other = steered(site.probe, *site.steering, torch.stack([run.parameters.mean_question, asked[0]]))
    torch.testing.assert_close(usual, run.parameters.probe[0].detach(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(other, usual, atol=0.1)


def test_the_operator_holds_what_the_parameters_say(small: Workload, tiny: SearchConfig) -> None:
    run = Searching(small, tiny, None, None, {})
    run.parameters.probe.data[0] = torch.arange(small.shape.hidden) / 10.0
    run.parameters.weights.data[0, 3] = 1e-3  # `norm`: too slight to be worth computing
    first = run.deployed.operator().sites[0]
    assert set(first.score) == {"vision", "uniqueness"}  # text has not met the picture yet
    direction = torch.tensor(first.probe)
    torch.testing.assert_close(
        direction / direction.norm(),
        run.parameters.probe[0].detach() / run.parameters.probe[0].norm(),
        rtol=1e-3,
        atol=1e-4,
    )
    assert first.score["uniqueness"] / first.score["vision"] == pytest.approx(2.5, rel=1e-3)
    size = direction.square().sum() + sum(weight**2 for weight in first.score.values())
    assert float(size) == pytest.approx(1.0, rel=1e-3)
    assert first.steering is None  # nothing is turned yet
    with torch.no_grad():
        run.parameters.direction_delta[0] = torch.linspace(-1.0, 1.0, 8 * small.shape.hidden).view(8, -1)
    turned = run.deployed.operator().sites[0]
    assert turned.steering is not None
    read, turn = turned.steering.tensors()
    torch.testing.assert_close(read, run.parameters.question_proj[0].detach(), rtol=1e-3, atol=1e-3)
    probe = run.parameters.direction(0).detach()
    proportion = torch.tensor(turned.probe).norm() / turn.norm()
    assert proportion == pytest.approx(
        float(probe.norm() / run.parameters.direction_delta.detach()[0].norm()), rel=1e-3
    )
    still = Searching(small, SearchConfig(**{**tiny.model_dump(), "probe": False}), None, None, {}).deployed.operator()
    assert all(site.probe == () for site in still.sites)
