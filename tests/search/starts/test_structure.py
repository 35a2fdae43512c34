"""Where searches begin: designs at the budget with room for what is learned, and rounds of pairs."""

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import flops_cost
from eos_platform.search.discretise import to_operator
from eos_platform.search.parameters import Parameters
from eos_platform.search.run import search
from eos_platform.search.starts.structure import price_of, structure_at, structure_of


@pytest.mark.parametrize("start", ["tome", "visionzip", "fastv", "pyramiddrop"])
def test_a_design_begins_as_itself_and_leaves_room(small, start):
    config, cost = SearchConfig(budget=0.3, start=start), flops_cost(small)
    structure = structure_of(small, config, cost)
    assert structure.layers == ()
    assert price_of(small, structure, config, cost) <= 0.3
    parameters = Parameters(config, small.target, small.shape.hidden, small.features, structure)
    operator = to_operator(parameters, (), small.target, "t")
    assert [site.keep for site in operator.sites] == [site.keep for site in structure.head]
    for made, site in zip(operator.sites, structure.head, strict=True):
        assert (made.selector, made.layer, made.positions) == (site.selector, site.layer, site.positions)
        assert made.transfer.gamma == site.transfer.gamma
    assert 0.27 < compute_ratio(operator, small.shape, small.text_tokens) <= 0.3


def test_rounds_leave_more_than_the_budget_for_sites_that_are_learned(small):
    structure = structure_of(small, SearchConfig(budget=0.2, start="pairs"), flops_cost(small))
    assert all(site.selector == "alternate" for site in structure.head)
    plain = Parameters(SearchConfig(budget=0.2), small.target, small.shape.hidden)
    first = float(plain.counts(flops_cost(small).scale, 0.2)[0].detach())
    assert structure.head[-1].keep > first
    assert structure.layers == plain.layers


@pytest.mark.parametrize(
    ("start", "said"), [("tomme", "did you mean"), ("tome-tower", "vision tower"), ("pairs-late", None)]
)
def test_starts_that_cannot_be_are_refused(small, start, said):
    config = SearchConfig(budget=0.3, start=start, layers=(0,))
    with pytest.raises(EosError, match=said or "no room"):
        structure_of(small, config, flops_cost(small))


@pytest.mark.parametrize("start", ["tome", "pairs"])
def test_a_search_from_a_start_learns_and_meets_the_budget(small, tiny, start):
    result = search(small, tiny.model_copy(update={"start": start, "budget": 0.2, "steps": 6, "eval_questions": 96}))
    assert result.compute_ratio <= 0.2
    assert result.operator.sites[0].selector == "alternate"
    assert result.operator.sites[0].metric is not None
    assert result.parameters["head.metric_delta"].abs().sum() > 0
    assert abs(result.accuracy - result.relaxed_accuracy) < 0.15


def test_it_resumes_with_the_same_result(small, tiny, tmp_path):
    config = tiny.model_copy(update={"start": "tome", "budget": 0.2, "steps": 6})
    whole = search(small, config)

    class Enough(Exception):
        pass

    def stop(step, curves):
        if step == 3:
            raise Enough

    with pytest.raises(Enough):
        search(small, config, report=stop, checkpoint=tmp_path)
    again = search(small, config, checkpoint=tmp_path)
    assert again.operator.sites == whole.operator.sites
    assert all(torch.equal(again.parameters[name], value) for name, value in whole.parameters.items())


@pytest.mark.parametrize("change", [{"mixing": "product"}, {"score": {"variation": 1.0}, "layer": 1}])
def test_each_way_of_weighing_that_no_search_learns_is_refused(small, change):
    site = SiteSpec.model_validate({"layer": 0, "keep": 20, "score": {"norm": 1.0, "uniqueness": 1.0}} | change)
    operator = OperatorSpec(name="mine", target=small.target, sites=(site,))
    with pytest.raises(EosError, match="measured, not refined"):
        structure_at(small, operator, SearchConfig(budget=0.3), flops_cost(small), lambda budget: operator)
