"""The budget: met at every step by the exact rule, used up by what is deployed under any rule, whatever it is."""

import pytest
import torch

from eos_platform.costs.flops import compute_ratio
from eos_platform.search import SearchConfig, search
from eos_platform.search.discretise import to_operator, whole_counts
from eos_platform.search.parameters import Parameters
from eos_platform.search.schedule import Schedule
from eos_platform.search.start import check, counts_now, soft_ratio, start_at_budget
from eos_platform.tasks import Workload

RULES = ("exact", "penalty", "two-sided")


def begun(small: Workload, config: SearchConfig, shaken: float = 0.0) -> Parameters:
    """Parameters as a search begins with them, moved at random by so much."""
    parameters = Parameters(config, small.target, small.shape.hidden)
    torch.manual_seed(3)
    for value in parameters.parameters():
        value.data.add_(shaken * torch.randn_like(value))
    start_at_budget(parameters, small, config)
    return parameters


def whole(small: Workload, config: SearchConfig, parameters: Parameters, soft: torch.Tensor, steepness: float = 1.0):
    """The counts and their compute ratio."""
    counts = whole_counts(soft, parameters, config, small.target, small.shape, small.text_tokens, steepness)
    ratio = compute_ratio(to_operator(parameters, counts, small.target, "x"), small.shape, small.text_tokens)
    return counts, ratio


# every budget and every rule; whole counts have each with each below
@pytest.mark.parametrize(
    ("budget", "rule"), [(0.1, "exact"), (0.25, "exact"), (0.4, "exact"), (0.1, "two-sided"), (0.4, "penalty")]
)
def test_a_search_hits_the_budget_under_every_rule(
    small: Workload, tiny: SearchConfig, rule: str, budget: float
) -> None:
    config = tiny.model_copy(update={"steps": 5, "eval_questions": 4, "budget_rule": rule, "budget": budget})
    ratios = []
    result = search(small, config, report=lambda step, curves: ratios.append(curves["soft_compute_ratio"]))
    assert 0.95 * budget <= result.compute_ratio <= budget
    if rule == "exact":  # what it allows itself comes down to the budget
        eased = [Schedule(config).budget(step) for step in range(4)]
        assert ratios[:4] == pytest.approx(eased, rel=0.01)
        assert eased[2:] == [budget] * 2
    else:
        assert ratios[0] == pytest.approx(budget, rel=0.01)


@pytest.mark.parametrize("layers", [None, (0,), (0, 3), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("budget", [0.08, 0.15, 0.35, 0.7])
@pytest.mark.parametrize("shaken", [0.0, 0.5, 2.0])
def test_the_exact_rule_meets_the_budget_wherever_the_parameters_are(
    small: Workload, layers: tuple[int, ...] | None, budget: float, shaken: float
) -> None:
    config = SearchConfig(budget=budget, layers=layers)
    parameters = begun(small, config, shaken)
    counts = counts_now(parameters, small, config.budget).detach()
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    if float(counts[-1]) > 1:  # fewer than one token a site there cannot be
        assert float(soft_ratio(parameters.sites(counts), small)) == pytest.approx(budget, rel=0.01)


def test_under_the_exact_rule_every_site_but_the_first_has_a_gradient_of_its_own(small: Workload) -> None:
    config = SearchConfig(budget=0.3, layers=(0, 2, 4))
    parameters = begun(small, config)
    counts_now(parameters, small, config.budget)[0].backward()
    assert parameters.keep.grad is not None
    assert parameters.keep.grad[0] == 0
    assert (parameters.keep.grad[1:] < 0).all()  # whoever keeps more later has fewer from the start


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steepness", [1.0, 0.0, 1.4])
@pytest.mark.parametrize("budget", [0.08, 0.15, 0.35, 0.6, 0.95, 0.97, 0.985, 0.995])
def test_whole_counts_use_the_budget_up(small: Workload, rule: str, budget: float, steepness: float) -> None:
    config = SearchConfig(budget=budget, budget_rule=rule)
    parameters = begun(small, config, 0.5)
    counts, ratio = whole(small, config, parameters, counts_now(parameters, small, config.budget), steepness)
    assert list(counts) == sorted(counts, reverse=True)
    assert 0.95 * budget <= ratio <= budget


@pytest.mark.parametrize("soft", [[143.0, 142.5], [143.5, 20.0], [1.0, 1.0], [144.0, 144.0], [80.0, 1.0]])
@pytest.mark.parametrize("budget", [0.08, 0.3, 0.99])
def test_whole_counts_use_the_budget_up_from_any_soft_ones(small: Workload, soft: list[float], budget: float) -> None:
    config = SearchConfig(budget=budget)
    _, ratio = whole(small, config, begun(small, config), torch.tensor(soft))
    assert 0.95 * budget <= ratio <= budget


@pytest.mark.parametrize("steepness", [1.0, 0.0])
@pytest.mark.parametrize("budget", [0.2, 0.29, 0.35, 0.5, 0.61])
def test_whole_counts_leave_room_for_what_is_learned_later(small: Workload, budget: float, steepness: float) -> None:
    """Such as when all steps are on deployed counts, which are then fixed before the first probe is learned."""
    config = SearchConfig(budget=budget)
    parameters = begun(small, config)
    counts, _ = whole(small, config, parameters, counts_now(parameters, small, config.budget), steepness)
    for value in (parameters.probe, parameters.direction_delta):
        value.data.fill_(0.1)
    ratio = compute_ratio(to_operator(parameters, counts, small.target, "x"), small.shape, small.text_tokens)
    assert 0.95 * budget <= ratio <= budget


def test_a_site_that_hardly_reduces_is_left_out(small: Workload) -> None:
    config = SearchConfig(budget=0.4, layers=(0, 2, 4))
    parameters = begun(small, config)
    counts, _ = whole(small, config, parameters, torch.tensor([60.0, 59.5, 30.0]))
    assert counts[0] == counts[1] > counts[2]
    operator = to_operator(parameters, counts, small.target, "x")
    assert [site.layer for site in operator.sites] == [0, 4]
    counts, _ = whole(small, config, parameters, torch.tensor([60.0, 40.0, 30.0]), 0.0)
    assert len(set(counts)) == 1


def test_a_budget_of_everything_leaves_everything(small: Workload, tiny: SearchConfig) -> None:
    result = search(small, tiny.model_copy(update={"budget": 1.0, "steps": 5}))
    assert (result.operator.sites, result.compute_ratio) == ((), 1.0)


def test_the_least_budget_that_is_accepted_is_reached(small: Workload, tiny: SearchConfig) -> None:
    low, high = 0.01, 0.2
    for _ in range(20):
        middle = (low + high) / 2
        try:
            check(small, tiny.model_copy(update={"budget": middle}))
            high = middle
        except Exception:
            low = middle
    result = search(small, tiny.model_copy(update={"budget": high, "steps": 5}))
    assert 0.95 * high <= result.compute_ratio <= high
    assert result.operator.tokens_left == 1
