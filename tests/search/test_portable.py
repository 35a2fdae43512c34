"""Searches that keep to what models of every family have."""

import pytest

from eos_platform.common.errors import EosError
from eos_platform.models.conformance.runs import cached
from eos_platform.models.conformance.subjects import batches, built
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.runtime.attach import attached, attached_operator
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import Workload


def test_what_a_portable_search_finds_goes_on_every_family_as_it_is(small: Workload, tiny: SearchConfig) -> None:
    found = search(small, tiny.model_copy(update={"portable": True, "steps": 4})).operator
    for site in found.sites:
        assert not set(site.score) & {"vision", "next_vision"}
        assert not site.probe
        assert site.steering is None
    for family in ("Qwen2.5-VL", "SmolVLM", "Gemma 3", "LLaVA-1.5"):
        with attached(built(SAMPLES[family]), found, rescale=True) as model:
            made = attached_operator(model)
            assert cached(model, batches(SAMPLES[family])["one"])[1].isfinite().all()
        assert made is not None
        assert [site.score for site in made.sites] == [site.score for site in found.sites]


@pytest.mark.parametrize("told", [{"probe": True}, {"steering_rank": 8}])
def test_portable_searches_learn_no_direction(told: dict) -> None:
    with pytest.raises(EosError, match="portable leaves"):
        SearchConfig.of({"portable": True, **told})
    assert SearchConfig.of({"portable": True, "probe": False, "steering_rank": 0}).learns_directions is False
