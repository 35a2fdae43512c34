"""Words for operators that save FLOPs and no time."""

from __future__ import annotations

import pytest

from eos_platform.costs.amount import Amount
from eos_platform.costs.measured import pays
from eos_platform.costs.measured.pays import not_paying, time_lines, told
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.protocols import CostContext, Setting


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ({1: (9.0, 10.0)}, ""),
        ({1: (12.0, 10.0)}, "does not pay on a GPU at batch 1: prefill 12 ms, unreduced 10 ms (measured)"),
        ({1: (9.9, 10.0), 4: (39.0, 39.5)}, "unreduced 10 ms; nor at batch 4 (measured)"),
        ({1: (12.0, 10.0), 4: (39.0, 39.5), 16: (60.0, 150.0)}, "; it does from batch 16 on (measured)"),
    ],
)
def test_an_operator_that_does_not_pay_is_said_to_with_the_batch_from_which_it_does(times, says):
    words = not_paying("a GPU", 1, times)
    assert words.endswith(says) if says else words == ""


def test_larger_batches_are_measured_only_where_it_does_not_pay(monkeypatch):
    asked = []

    def takes(cost, context, operator):
        asked.append((context.setting.batch, operator is not None))
        slow = operator is not None and context.setting.batch < limit
        return type("Amount", (), {"value": context.setting.batch * (2.0 if slow else 0.5 if operator else 1.0)})

    monkeypatch.setattr(pays, "amount", takes)
    target = Target(layers=4, grid=(8, 8))
    operator = OperatorSpec(target=target, sites=(SiteSpec(layer=0, keep=8, score={"norm": 1.0}),))
    model = type("Model", (), {"device": type("Device", (), {"type": "cpu"})})
    context = CostContext(None, target, 20, model, setting=Setting(batch=2))
    limit = 1
    assert told(context, operator) == ""
    assert asked == [(2, True), (2, False)]
    limit = 8
    assert told(context, operator) == (
        "does not pay on this cpu at batch 2: prefill 4 ms, unreduced 2 ms; it does from batch 8 on (measured)"
    )


def test_the_time_stands_beside_a_ratio_in_lines_and_nothing_where_it_cannot_be_had():
    target = Target(layers=4, grid=(8, 8))
    operator = OperatorSpec(name="slow", target=target, sites=(SiteSpec(layer=0, keep=8, score={"norm": 1.0}),))
    assert list(time_lines(CostContext(None, target, 20), operator)) == []


@pytest.mark.parametrize(("reduced", "notes"), [(0.5, 0), (1.5, 1)])
def test_what_does_not_pay_has_a_line_more(monkeypatch, reduced, notes):
    monkeypatch.setattr(
        pays, "amount", lambda cost, context, operator: Amount(reduced if operator else 1.0, "measured")
    )
    target = Target(layers=4, grid=(8, 8))
    operator = OperatorSpec(name="slow", target=target, sites=(SiteSpec(layer=0, keep=8, score={"norm": 1.0}),))
    model = type("Model", (), {"device": type("Device", (), {"type": "cpu"})})
    lines = list(time_lines(CostContext(None, target, 20, model), operator))
    assert lines[0] == f"prefill {reduced:g} ms (unreduced 1 ms)"
    assert len(lines) == 1 + notes
    assert all(line.startswith("note: slow does not pay on this cpu at batch 1: ") for line in lines[1:])
