"""Whole counts leave nothing over: no site could keep one token more."""

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.search import SearchConfig
from eos_platform.search.discretise import costliest, feature_mask, to_operator, whole_counts
from eos_platform.search.parameters import Parameters
from eos_platform.tasks import Workload

LAYERS = (0, 2, 4)


def ratio_of(small: Workload, parameters: Parameters, counts: tuple[int, ...]) -> float:
    operator = to_operator(costliest(parameters), counts, small.target, "x")
    return compute_ratio(operator, small.shape, small.text_tokens)


@pytest.mark.parametrize("soft", [[100.0, 60.0, 30.0], [90.0, 88.0, 20.0], [40.0, 20.0, 18.0], [120.0, 30.0, 29.0]])
@pytest.mark.parametrize("budget", [0.1, 0.17, 0.23, 0.31, 0.44, 0.52])
def test_no_site_could_keep_one_more(small: Workload, soft: list[float], budget: float) -> None:
    config = SearchConfig(budget=budget, layers=LAYERS)
    parameters = Parameters(config, small.target, small.shape.hidden)
    counts = whole_counts(torch.tensor(soft), parameters, config, small.target, small.shape, small.text_tokens)
    assert ratio_of(small, parameters, counts) <= budget
    for number, count in enumerate(counts):
        more = (*counts[:number], count + 1, *counts[number + 1 :])
        if number == 0 or more[number] < counts[number - 1]:
            assert ratio_of(small, parameters, more) > budget, (number, counts)


@pytest.mark.parametrize("steepness", [0.5, 1.0, 2.0])
def test_counts_keep_the_proportions_of_the_soft_ones(small: Workload, steepness: float) -> None:
    """The share of each later site is that of the soft counts, raised to the steepness, to within a token."""
    config = SearchConfig(budget=0.3, layers=LAYERS)
    parameters = Parameters(config, small.target, small.shape.hidden)
    soft = torch.tensor([100.0, 50.0, 40.0])
    counts = whole_counts(soft, parameters, config, small.target, small.shape, small.text_tokens, steepness)
    for number, share in ((1, 0.5**steepness), (2, 0.8**steepness)):
        assert abs(counts[number] - share * counts[number - 1]) <= 2


def test_what_hardly_counts_is_left_out(small: Workload) -> None:
    config = SearchConfig(budget=0.3, layers=(2, 4))
    parameters = Parameters(config, small.target, small.shape.hidden)
    parameters.weights.data[:] = torch.tensor([[2.0, -0.101, 0.099, 0.0, 1.0], [0.0, 0.0, 0.0, -0.3, 0.014]])
    assert feature_mask(parameters).tolist() == [[1.0, 1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0, 0.0]]
    sites = to_operator(parameters, (50, 20), small.target, "x").sites
    assert set(sites[0].score) == {"last_text", "mean_text", "uniqueness"}
    assert sites[0].score["last_text"] / sites[0].score["uniqueness"] == pytest.approx(2.0, rel=1e-3)
    assert sites[1].score == {"norm": pytest.approx(-1.0)}


@pytest.mark.parametrize(("rho", "kept"), [(0.019, 0.0), (0.021, 0.021), (1.5, 1.5)])
def test_slight_reweighting_is_left_out(small: Workload, rho: float, kept: float) -> None:
    parameters = Parameters(SearchConfig(layers=(2,)), small.target, small.shape.hidden)
    parameters.rho.data[:] = torch.tensor(rho).expm1().log()  # softplus undone
    (site,) = to_operator(parameters, (50,), small.target, "x").sites
    assert site.rho == pytest.approx(kept, rel=1e-3)


def test_a_budget_below_one_token_a_site_is_refused_with_the_least(small: Workload) -> None:
    config = SearchConfig(budget=0.01, layers=(0, 2))
    parameters = Parameters(config, small.target, small.shape.hidden)
    least = ratio_of(small, parameters, (1, 1))
    with pytest.raises(EosError, match=rf"budget 0\.01 is impossible.* already takes {least:.3f}"):
        whole_counts(torch.tensor([9.0, 3.0]), parameters, config, small.target, small.shape, small.text_tokens)
