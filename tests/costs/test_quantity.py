"""Budgets with units."""

import pytest

from eos_platform.costs.quantity import parse_quantity, shown_quantity
from eos_platform.costs.registry import COSTS


@pytest.mark.parametrize(
    ("text", "cost", "value"),
    [
        ("8ms", "prefill_ms", 8.0),
        ("8", "prefill_ms", 8.0),
        (" .008 s", "prefill_ms", 8.0),
        ("800us", "prefill_ms", 0.8),
        ("20%", "compute_ratio", 0.2),
        ("1e-1", "compute_ratio", 0.1),
        ("1.5MB", "kv_bytes", 1.5e6),
        ("1KiB", "kv_bytes", 1024.0),
        ("64 tokens", "mean_tokens", 64.0),
    ],
)
def test_quantities_are_read_in_the_units_of_their_cost(text, cost, value):
    assert parse_quantity(text, COSTS[cost]) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "cost", "says"),
    [
        ("8ms", "compute_ratio", "'8ms' is of cost prefill_ms; cost compute_ratio is a ratio without a unit"),
        ("8mss", "prefill_ms", "unknown unit 'mss' of cost prefill_ms; did you mean 'ms'"),
        ("1GB", "prefill_ms", "is of cost kv_bytes; cost prefill_ms is in ms"),
        ("soon", "prefill_ms", "expected a number with a unit such as 8ms, not 'soon'"),
        ("", "compute_ratio", "expected a number such as 0.2, not ''"),
        ("nan", "compute_ratio", "expected a number"),
    ],
)
def test_wrong_quantities_are_one_clear_error(text, cost, says):
    with pytest.raises(ValueError, match=says):
        parse_quantity(text, COSTS[cost])


def test_values_are_shown_with_their_unit():
    assert shown_quantity(0.2, COSTS["compute_ratio"]) == "0.200"
    assert shown_quantity(8.12345, COSTS["prefill_ms"]) == "8.123 ms"
    assert shown_quantity(2.5e6, COSTS["kv_bytes"]) == "2.5 MB"
