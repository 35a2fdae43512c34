"""Which settings of a site go together, each rule from both sides; the corner a site sits on."""

import math

import pytest
from pydantic import ValidationError

from eos_platform.operators.spec import SiteSpec, Support, Transfer

NORM = {"layer": 1, "keep": 5, "score": {"norm": 1.0}}
OVERLAP = {"by": "anchor", "tau": math.inf, "gamma": 1.0, "support": {"kind": "overlap", "size": 6}}
GRID = {"layer": 1, "keep": 6, "selector": "grid", "transfer": OVERLAP}


def said(**fields):
    """What is wrong with a site, or nothing."""
    try:
        SiteSpec.model_validate(fields)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return ""


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        (NORM, ""),
        (NORM | {"keep": 0}, "keep is 0 exactly when"),
        (NORM | {"selector": "drop_all"}, "keep is 0 exactly when"),
        ({"layer": 0, "keep": 0, "selector": "drop_all"}, ""),
        (NORM | {"keep": 1, "summary": True}, "a summary needs at least one token kept beside it"),
        (NORM | {"keep": 2, "summary": True}, ""),
        (NORM | {"important": 5}, ""),
        (NORM | {"important": 6}, "important 6 is more than the 5 that stay"),
        (NORM | {"important": 4, "summary": True}, ""),
        (NORM | {"important": 5, "summary": True}, "important 5 is more than the 4 that stay beside the summary"),
        (NORM | {"selector": "pivots"}, ""),
        (NORM | {"selector": "pivots", "similarity": "keys"}, "selector 'pivots' compares hidden states"),
        (NORM | {"selector": "dpp", "similarity": "keys"}, ""),
        (GRID, ""),
        (GRID | {"keep": 5}, "support 'overlap' needs"),
        (GRID | {"selector": "random"}, "support 'overlap' needs"),
        (GRID | {"important": 1, "score": {"norm": 1.0}}, "support 'overlap' needs"),
        (GRID | {"summary": True}, "support 'overlap' needs"),
        ({"layer": 1, "keep": 5}, "'score' must weigh at least one feature"),
        ({"layer": 1, "keep": 5, "score": {"norm": 0.0}}, "'score' must weigh at least one feature"),
        ({"layer": 1, "keep": 5, "probe": (0.0, 0.0)}, "'score' must weigh at least one feature"),
        ({"layer": 1, "keep": 5, "probe": (0.0, 0.1)}, ""),
        ({"layer": 1, "keep": 5, "selector": "grid"}, ""),
        ({"layer": 1, "keep": 5, "selector": "grid", "rho": 0.1}, "'score' must weigh at least one feature"),
        ({"layer": 1, "keep": 5, "selector": "grid", "important": 1}, "'score' must weigh at least one feature"),
        (
            {"layer": 1, "keep": 5, "selector": "grid", "transfer": {"source": "importance"}},
            "'score' must weigh at least one feature",
        ),
        ({"layer": 1, "keep": 5, "selector": "grid", "transfer": {"among": 0.5}}, "'score' must weigh at least one"),
    ],
)
def test_what_goes_together(fields, wrong):
    found = said(**fields)
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)
    if "summary" not in wrong:
        assert "beside the summary" not in found


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"by": "anchor", "tau": math.inf, "support": {"kind": "nearest", "size": 2}}, False),
        ({"by": "anchor", "tau": math.inf, "support": {"kind": "all"}}, True),
        ({"by": "anchor", "tau": math.inf, "support": {"kind": "window", "size": 2}}, True),
        ({"by": "anchor", "tau": 1.0, "support": {"kind": "nearest", "size": 2}}, True),
        ({"by": "anchor", "tau": 0.0, "support": {"kind": "all"}}, True),
        ({"by": "source", "tau": 1.0, "support": {"kind": "nearest", "size": 2}}, False),
        ({"by": "source", "support": {"kind": "overlap", "size": 2}}, True),
        ({"support": {"kind": "all", "size": 2}}, True),
        ({"support": {"kind": "window"}}, True),
        ({"support": {"kind": "window", "size": 1}}, False),
        ({"support": {"kind": "window", "size": 0}}, True),
        ({"gamma": 1.0001}, True),
        ({"nu": -0.1}, True),
        ({"tau": -1e-9}, True),
    ],
)
def test_what_a_transfer_may_be(fields, wrong):
    if wrong:
        with pytest.raises(ValidationError):
            Transfer.model_validate(fields)
    else:
        assert Transfer.model_validate(fields).by == fields.get("by", "source")


@pytest.mark.parametrize(
    ("fields", "tokens", "regime"),
    [
        ({}, 9, "prune"),
        ({}, 5, "identity"),
        ({"rho": 0.5}, 5, "reweight"),
        ({"rho": 0.5}, 9, "hybrid"),
        ({"summary": True}, 9, "hybrid"),
        ({"transfer": Transfer(gamma=1.0)}, 9, "merge"),
        ({"transfer": Transfer(gamma=0.99)}, 9, "hybrid"),
        ({"transfer": Transfer(gamma=1.0, tau=0.1)}, 9, "hybrid"),
        ({"transfer": Transfer(gamma=1.0, tau=math.inf)}, 9, "pool"),
        ({"transfer": Transfer(gamma=1.0, among=0.9)}, 9, "hybrid"),
        ({"transfer": Transfer(gamma=1.0, source="importance")}, 9, "hybrid"),
        (
            {"transfer": Transfer(gamma=1.0, tau=math.inf, by="anchor", support=Support(kind="nearest", size=2))},
            9,
            "hybrid",
        ),
        ({"transfer": Transfer.model_validate(OVERLAP), "keep": 6, "selector": "grid"}, 9, "pool"),
    ],
)
def test_regimes(fields, tokens, regime):
    site = SiteSpec.model_validate(NORM | fields)
    assert site.regime(tokens) == regime
    assert site.is_noop(tokens) == (regime == "identity")


def test_protection_may_be_slight() -> None:
    site = SiteSpec(layer=0, keep=3, selector="alternate", score={"norm": 1.0}, protect=0.25)
    assert site.protect == 0.25
