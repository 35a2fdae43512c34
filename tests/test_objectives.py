"""Which objectives a study may have, and that they survive as data."""

import pytest

from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COSTS as REGISTERED
from eos_platform.objectives import DEFAULT, from_json, parse, to_json
from eos_platform.protocols import describe_values


@pytest.mark.parametrize(
    ("given", "metrics"),
    [
        ({"compute_ratio": "minimise", "accuracy": "maximise"}, ["accuracy", "compute_ratio"]),
        ({"mean_tokens": "minimise", "accuracy/count": "maximise"}, ["accuracy/count", "mean_tokens"]),
        (
            {"accuracy": "maximise", "prefill_ms": "minimise", "tokens_left": "minimise"},
            ["accuracy", "prefill_ms", "tokens_left"],
        ),
    ],
)
def test_what_is_maximised_comes_first_else_the_order_of_the_file(given, metrics):
    found = parse(given)
    assert [one.metric for one in found] == metrics
    assert from_json(to_json(found)) == found


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"prefil_ms": "minimise", "accuracy": "maximise"},
            "unknown objective 'prefil_ms'; did you mean 'prefill_ms'?",
        ),
        ({"my_cost": "minimise", "accuracy": "maximise"}, "unknown objective 'my_cost'"),
        ({"accuracy": "maximise", "mean_tokens": "maximise"}, "mean_tokens can only be minimised"),
        ({"accuracy/": "maximise", "mean_tokens": "minimise"}, "expected accuracy/<group>"),
        ({"accuracy/all": "maximise", "mean_tokens": "minimise"}, "accuracy at all questions is 'accuracy'"),
        ({"accuracy": "maximise"}, "two or three objectives are needed, not 1"),
        ({}, "two or three objectives are needed, not 0"),
        (
            {"accuracy": "maximise", **dict.fromkeys(("compute_ratio", "mean_tokens", "tokens_left"), "minimise")},
            "two or three objectives are needed, not 4",
        ),
    ],
)
def test_what_is_wrong_is_said(given, says):
    with pytest.raises(EosError) as raised:
        parse(given)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "{}", "[1, 2]", '[{"metric": "a"}]', '[{"metric":"a","direction":"up"},{}]', '"ab"', "[[],[]]"],
)
def test_a_tag_that_cannot_be_read_means_the_default(text):
    assert from_json(text) == DEFAULT


def test_any_registered_cost_can_be_an_objective():
    for name, cost in REGISTERED.items():
        found = parse({"accuracy": "maximise", name: "minimise"}, REGISTERED)[1]
        assert (found.metric, found.label, found.direction) == (name, cost.label, "minimise")
        assert (found.worst == 1.0) == cost.relative
        assert from_json(to_json((DEFAULT[0], found))) == (DEFAULT[0], found)
    with pytest.raises(EosError, match="unknown objective 'kv_byte'; did you mean 'kv_bytes'"):
        parse({"accuracy": "maximise", "kv_byte": "minimise"}, REGISTERED)
    with pytest.raises(EosError, match="kv_bytes can only be minimised"):
        parse({"accuracy": "maximise", "kv_bytes": "maximise"}, REGISTERED)


def test_values_in_words():
    assert describe_values(DEFAULT, {"accuracy": 0.7, "compute_ratio": 0.3}) == "accuracy 70.0% at compute ratio 0.300"
