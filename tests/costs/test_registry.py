"""Costs by name, and what a cost of another package must have."""

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.registry import COSTS, _cost, measure
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.protocols import Cost
from eos_platform.registries import registries
from eos_platform.tasks import load_workload
from eos_platform.tasks.typical import cost_context


@pytest.fixture(scope="module")
def small():
    return load_workload("bundled-small", device="cpu")


def test_costs_are_listed_with_the_other_registries():
    assert COSTS in registries()
    assert set(COSTS) >= {"compute_ratio", "prefill_ms", "kv_bytes", "mean_tokens", "tokens_left"}
    for name, cost in COSTS.items():
        assert isinstance(cost, Cost)
        assert cost.name == name


def test_a_misspelt_cost_is_told_with_the_nearest():
    with pytest.raises(EosError, match="unknown cost 'prefil_ms'; did you mean 'prefill_ms'"):
        COSTS.get_named("prefil_ms")


def test_what_lacks_something_is_no_cost():
    class NoUnit:
        name = label = "x"
        relative = deterministic = True

        def measure(self, context, operator):
            return 1.0

    with pytest.raises(TypeError, match="unit, relaxed; NoUnit has not"):
        _cost(NoUnit)
    other = type("Other", (NoUnit,), {"unit": 3, "relaxed": lambda *_: None})
    with pytest.raises(TypeError, match="a cost's unit is a str, not int"):
        _cost(other)


@pytest.mark.parametrize("name", ["accuracy", "two words", "", "2nd", "a/b"])
def test_a_name_that_no_metric_has_is_refused(name):
    made = type("Odd", (type(COSTS["mean_tokens"]),), {"name": name})
    with pytest.raises(TypeError, match=r"a cost's name is letters, .* and names a metric"):
        _cost(made)


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        (lambda: float("nan"), "cost 'odd' is broken: it measures nan, and costs are finite and above 0"),
        (lambda: -1, "cost 'odd' is broken: it measures -1"),
        (lambda: 0, "cost 'odd' is broken: it measures 0"),
        (lambda: None, "cost 'odd' fails: TypeError"),
        (lambda: {}["x"], "cost 'odd' fails: KeyError"),
        (lambda: torch.zeros(2) @ torch.zeros(3), "cost 'odd' fails: RuntimeError"),
    ],
)
def test_a_cost_that_misbehaves_is_one_line(small, returns, says):
    odd = type("Odd", (type(COSTS["mean_tokens"]),), {"name": "odd", "measure": lambda *_: returns()})()
    with pytest.raises(EosError) as raised:
        measure(odd, cost_context(small), None)
    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)


def test_what_is_no_fault_of_the_cost_goes_on(small):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    odd = type("Odd", (type(COSTS["mean_tokens"]),), {"measure": full})()
    with pytest.raises(torch.OutOfMemoryError):
        measure(odd, cost_context(small), None)


def test_exact_costs_of_a_deployed_operator(small):
    operator = OperatorSpec(
        target=small.target,
        sites=(SiteSpec(layer=0, keep=40, score={"norm": 1.0}), SiteSpec(layer=4, keep=10, score={"norm": 1.0})),
    )
    context, shape = cost_context(small), small.shape
    visual = 4 * 40 + (shape.layers - 4) * 10
    assert COSTS["compute_ratio"].measure(context, operator) == compute_ratio(operator, shape, small.text_tokens)
    assert COSTS["mean_tokens"].measure(context, operator) == pytest.approx(visual / shape.layers)
    assert COSTS["tokens_left"].measure(context, operator) == 10
    entries = visual + shape.layers * small.text_tokens
    assert COSTS["kv_bytes"].measure(context, operator) == pytest.approx(
        entries * shape.kv_heads * shape.head_dim * 2 * torch.float32.itemsize
    )
    assert COSTS["kv_bytes"].measure(context, None) > COSTS["kv_bytes"].measure(context, operator)


def test_cache_bytes_are_those_of_the_cache_of_a_real_prefill(small):
    context = cost_context(small)
    prefill = context.prompts(None, 1)
    with torch.no_grad():
        cache = small.model.model.language_model(**prefill.call(), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    text = prefill.x_bsd.shape[1] - small.target.tokens
    assert held == pytest.approx(
        COSTS["kv_bytes"].measure(type(context)(small.shape, small.target, text, small.model), None)
    )
