"""Searches that keep to what a server's engine can do."""

import pytest

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import Target
from eos_platform.search import search
from eos_platform.search.config import SearchConfig
from eos_platform.search.front import configs_of
from eos_platform.search.parameters import Parameters, candidate_layers
from eos_platform.serve.plan import ServingPlan, Verdict
from eos_platform.tasks.workload import Workload


def test_what_a_servable_search_finds_is_served_exactly(small: Workload, tiny: SearchConfig) -> None:
    config = SearchConfig.of({**tiny.fields(), "steering_rank": 0, "layers": None, "servable": "vllm", "steps": 4})
    operator = search(small, config).operator
    assert ServingPlan.of(operator).verdict is Verdict.EXACT
    assert all(site.layer == 0 and site.steering is None for site in operator.sites)
    assert any(site.beta for site in operator.sites)  # sizes stay


def test_one_site_that_is_steered_only_where_somebody_says_so() -> None:
    config = SearchConfig.of({"servable": "vllm"})
    assert candidate_layers(config, Target(layers=8, grid=(4, 4))) == (0,)
    assert config.steering_rank == 0
    assert Parameters(config, Target(layers=8, grid=(4, 4)), 16).layers == (0,)
    assert SearchConfig.of({"servable": "vllm", "steering_rank": 4}).steering_rank == 4
    assert [one.servable for one in configs_of(config, (0.3, 0.1))] == ["vllm", "vllm"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"servable": "vllm", "layers": [0, 5]}, r"layers is \[0\] then"),
        ({"servable": "vlm"}, "did you mean 'vllm'"),
        ({"servable": 1}, "servable"),
    ],
)
def test_what_no_engine_serves_is_refused(values: dict, says: str) -> None:
    with pytest.raises(EosError, match=says):
        SearchConfig.of(values)


def test_files_of_searches_that_are_free_stay_as_they_were() -> None:
    assert "servable" not in SearchConfig().fields()
    assert SearchConfig.of({"servable": "vllm"}).fields()["servable"] == "vllm"
