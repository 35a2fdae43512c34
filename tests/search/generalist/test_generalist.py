"""A search over several places: its gradients are those of the places, its budget holds in each, it can be resumed."""

import copy
from pathlib import Path

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.models.runtime.attach import attached
from eos_platform.search import SearchConfig
from eos_platform.search.generalist.places import check_places, features_of
from eos_platform.search.generalist.run import PlacesSearching, generalist, reweighted
from eos_platform.search.generalist.stepper import even
from eos_platform.search.run import Searching
from eos_platform.tasks import Workload, load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.workload import on_another_task


@pytest.fixture(scope="module")
def tiny() -> SearchConfig:
    return SearchConfig(budget=0.15, steps=6, batch_size=4, search_questions=12, eval_questions=6)


@pytest.fixture(scope="module")
def crowds(small: Workload) -> Subject:
    """Another task of the same weights."""
    return on_another_task(small, "crowds")


@pytest.fixture(scope="module")
def second() -> Subject:
    """Another model of the same shape."""
    return load_workload("bundled-small-v2", "crowds", device="cpu")


def test_a_place_shares_the_weights_of_another(small: Workload, crowds: Subject) -> None:
    assert crowds.model is small.model
    assert (crowds.name, crowds.task) == (small.name, "crowds 1")


def test_gradients_are_the_weighted_sum_of_the_places(small: Workload, crowds: Subject, tiny: SearchConfig) -> None:
    """Against two searches of one place each, on the same questions."""
    weights = (0.9, 0.1)
    both = PlacesSearching([small, crowds], tiny)
    both.ask_teacher()
    both.stepper.weight_p.copy_(torch.tensor(weights))
    order = [one.workload for one in both.stepper.members]
    assert sorted(one.task for one in order) == sorted((small.task, crowds.task))
    rows = [torch.tensor([1, 5]), torch.tensor([2, 7])]
    step = {"budget": 0.2, "temperature": 0.3, "multiplier": 0.0, "rate": 0.0, "candidates": 144}
    both.stepper.run(torch.cat(rows), **step)
    wanted = [torch.zeros_like(value) for value in both.parameters.parameters()]
    losses = []
    for place, index_b, weight in zip(order, rows, weights, strict=True):
        alone = Searching(place, tiny.model_copy(update={"batch_size": 2}), None, None, {}, cost=both.cost)
        alone.ask_teacher()
        alone.parameters.load_state_dict(both.parameters.state_dict())
        alone.parameters.mask.copy_(both.parameters.mask)
        alone.parameters.mean_question.copy_(both.parameters.mean_question)
        alone.stepper._update = lambda: None  # type: ignore[method-assign]
        losses.append(alone.stepper.run(index_b, **step)["loss"])
        for total, value in zip(wanted, alone.parameters.parameters(), strict=True):
            total += weight * value.grad
    both.stepper._update = lambda: None
    found = both.stepper.run(torch.cat(rows), **step)
    assert both.stepper.loss_p.tolist() == pytest.approx(losses, rel=1e-5)
    assert found["loss"] == pytest.approx(sum(w * one for w, one in zip(weights, losses, strict=True)), rel=1e-5)
    for value, total in zip(both.parameters.parameters(), wanted, strict=True):
        torch.testing.assert_close(value.grad, total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", ["mean", "worst"])
def test_over_two_models_the_budget_holds_in_each(
    small: Workload, second: Subject, tiny: SearchConfig, rule: str
) -> None:
    result = generalist([small, second], tiny.model_copy(update={"generalist": rule}))
    operator = result.operator
    assert not any(site.probe or site.steering for site in operator.sites)
    for place in (small, second):
        assert compute_ratio(operator, place.shape, place.text_tokens) <= tiny.budget
        asked = evaluate(place, operator, "validation", tiny.eval_questions)
        assert result.places[f"{place.name} on {place.task}"] == asked.accuracy
        with attached(place.model, operator):
            pass
    assert result.accuracy == pytest.approx(sum(result.places.values()) / 2)
    assert [one["model"] for one in operator.provenance["places"]].count("bundled-small-v2") == 1
    weights = [value for name, value in result.history[-1].items() if name.startswith("weight/")]
    assert sum(weights) == pytest.approx(1, rel=1e-5)
    assert (weights == [0.5, 0.5]) == (rule == "mean")


def test_the_place_that_loses_most_gains_weight() -> None:
    weights = (0.5, 0.5)
    for _ in range(30):
        weights = reweighted(weights, (0.3, 0.1))
    assert sum(weights) == pytest.approx(1)
    assert weights[0] == pytest.approx(1 / (1 + torch.tensor(-0.05 * 30).exp().item()), rel=1e-5)
    assert reweighted((0.25, 0.75), (0.0, 0.0)) == (0.25, 0.75)


def test_going_on_gives_what_no_interruption_would(
    small: Workload, crowds: Subject, tiny: SearchConfig, tmp_path: Path
) -> None:
    config = tiny.model_copy(update={"generalist": "worst"})
    whole = generalist([small, crowds], config)

    def stop(step: int, curves: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generalist([small, crowds], config, report=stop, checkpoint=tmp_path)
    again = generalist([small, crowds], config, checkpoint=tmp_path)
    assert again.operator == whole.operator
    assert again.history == whole.history
    with pytest.raises(EosError, match="belongs to a search with other settings or of another model"):
        generalist([crowds, small], config, checkpoint=tmp_path)  # other places, by their order


@pytest.mark.parametrize(
    ("others", "settings", "why"),
    [
        ([], {}, "two places"),
        (["same"], {}, "is there twice"),
        (["deeper"], {}, "has decoder layers"),
        (["second"], {"probe": True}, "probe: a direction of one model's hidden space"),
        (["second"], {"budget_rule": "penalty"}, "budget_rule is exact"),
        (["second"], {"start": "tome"}, "start is one of"),
    ],
)
def test_places_that_one_operator_does_not_fit(
    small: Workload, second: Subject, others: list[str], settings: dict[str, object], why: str
) -> None:
    deeper = copy.copy(second)
    deeper.name, deeper.target = "deeper", second.target.model_copy(update={"layers": 9})
    named = {"same": small, "second": second, "deeper": deeper}
    with pytest.raises(EosError, match=why):
        check_places([small, *(named[one] for one in others)], SearchConfig.of({"budget": 0.2, **settings}))


def test_what_all_places_share(small: Workload, crowds: Subject) -> None:
    assert features_of([small, crowds]) == tuple(name for name in small.features if name != "vision")
    assert even(64, 3) == [22, 21, 21]
    assert even(2, 3) == [1, 1, 1]
