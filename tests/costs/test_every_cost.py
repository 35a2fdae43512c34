"""What every cost must do, those of installed packages too: a search and a study rely on nothing else."""

from __future__ import annotations

import itertools
import math
from functools import cache

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs import fit, prefill_time
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, search_cost
from eos_platform.search.discretise import costliest, to_operator
from eos_platform.search.parameters import Parameters
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.typical import cost_context

KEPT = (1, 9, 36, 72, 120, 143)  # of 144
TOLD_BY_GPU = ("peak_bytes", "energy_j")  # of whose own counters they are
HERE = [name for name in COSTS if name not in TOLD_BY_GPU]
CONFIG = SearchConfig(layers=(0, 4), steps=4)


@cache
def small() -> Subject:
    torch.set_num_threads(1)
    return load_workload("bundled-small", device="cpu")


@cache
def in_search(name: str) -> SearchCost:
    """The cost as a search has it, fitted where it must be."""
    with pytest.MonkeyPatch.context() as patch:  # fewer repeats: what is measured stays real
        patch.setattr(prefill_time, "PATIENCE", 0.02)
        patch.setattr(fit, "ROUNDS", 1)
        return search_cost(small(), CONFIG.model_copy(update={"cost": name}))


@cache
def parameters() -> Parameters:
    return costliest(Parameters(CONFIG, small().target, small().shape.hidden, small().features))


def operator(*kept: int) -> OperatorSpec:
    return to_operator(parameters(), kept, small().target, "tried")


def soft(name: str, counts: torch.Tensor) -> torch.Tensor:
    return in_search(name).relaxed(parameters().sites(counts))


@pytest.mark.parametrize("name", HERE)
def test_the_cost_of_what_is_deployed_is_a_finite_positive_number(name: str) -> None:
    cost, context = COSTS[name], cost_context(small())
    for one in (None, OperatorSpec(target=small().target), operator(40, 10), operator(1, 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prefill_time, "PATIENCE", 0.02)
            value = cost.measure(context, one)
        assert isinstance(value, (int, float))
        assert math.isfinite(value)
        assert value > 0
    if cost.relative:
        assert cost.measure(context, None) == 1.0


@pytest.mark.parametrize("name", TOLD_BY_GPU)
def test_a_cost_that_only_a_gpu_tells_is_refused_on_a_cpu_in_one_line(name: str) -> None:
    with pytest.raises(EosError, match=r"the model is on cpu$"):
        COSTS[name].measure(cost_context(small()), None)


@pytest.mark.parametrize("name", [name for name in COSTS if COSTS[name].deterministic])
def test_measuring_a_deterministic_cost_twice_gives_the_same(name: str) -> None:
    context = cost_context(small())
    assert COSTS[name].measure(context, operator(40, 10)) == COSTS[name].measure(context, operator(40, 10))


@pytest.mark.parametrize("name", HERE)
def test_more_tokens_never_cost_less(name: str) -> None:
    """Of one operator with other counts: exactly, and as fitted where the cost is measured."""
    takes = in_search(name).deployed
    for fewer, more in itertools.pairwise(KEPT):
        assert takes(operator(fewer, 1)) <= takes(operator(more, 1)) or fewer == 1  # then the second site is left out
        assert takes(operator(143, fewer)) <= takes(operator(143, more)) or more == 143
        assert takes(operator(fewer, fewer)) <= takes(operator(more, more))
    pooled = [
        OperatorSpec(
            target=small().target,
            sites=(SiteSpec(layer=0, keep=keep, score={"norm": 1.0}, transfer=Transfer(gamma=1.0)),),
        )
        for keep in KEPT
    ]
    costs = list(map(takes, pooled))
    assert costs == sorted(costs)


@pytest.mark.parametrize("counts", [(100, 30), (60, 20), (12, 3)])
@pytest.mark.parametrize("name", HERE)
def test_the_relaxed_form_at_whole_counts_is_close_to_what_is_deployed(name: str, counts: tuple[int, int]) -> None:
    relaxed, deployed = float(soft(name, torch.tensor(counts, dtype=torch.float32))), in_search(name).deployed
    fitted = in_search(name).fitted
    fading = fitted.site / (counts[0] - counts[1]) if fitted else 0.0  # a soft site costs less where it removes little
    assert relaxed == pytest.approx(deployed(operator(*counts)), rel=0.02, abs=fading)


@pytest.mark.parametrize("name", HERE)
def test_the_relaxed_form_has_a_finite_gradient_and_rises_with_all_counts_together(name: str) -> None:
    for counts in ((143.0, 130.0), (61.3, 20.7), (2.0, 1.0)):
        counts_s = torch.tensor(counts, requires_grad=True)
        soft(name, counts_s).backward()
        assert counts_s.grad is not None
        assert counts_s.grad.isfinite().all()
        assert float(counts_s.grad @ counts_s.detach()) > 0  # along this line a search meets its budget


@pytest.mark.parametrize("name", HERE)
def test_counts_that_meet_a_budget_are_found_with_a_gradient(name: str) -> None:
    cost = in_search(name)
    budget = 0.5 * (float(soft(name, torch.tensor([80.0, 80.0]))) + float(soft(name, torch.tensor([20.0, 20.0]))))
    found = Parameters(CONFIG, small().target, small().shape.hidden, small().features)
    counts_s = found.counts(cost.scale, budget)
    assert float(soft(name, counts_s.detach())) == pytest.approx(budget, rel=0.01)
    counts_s[0].backward()
    assert found.keep.grad is not None
    assert found.keep.grad.isfinite().all()
