"""Where a search begins: at no design, at one of them, or at rounds of pairs before sites of its own.

    search(workload, SearchConfig(budget=0.2, start="tome"))

A design's operator at the budget, the cost of all that the search adds to it included, gives sites, counts and
discrete choices; gradients begin there. Two starts are no design: ``pairs`` merges pairs in rounds until somewhat more
tokens are left than the budget allows, and lets sites of the search's own choose among those; ``pairs-late`` merges
down to the budget but for what a learned site further up removes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from eos_platform.common.errors import EosError, unknown
from eos_platform.costs.match import largest
from eos_platform.operators.designs import DESIGNS, get_design
from eos_platform.operators.designs.base import Design
from eos_platform.operators.designs.merging.tome import rounds
from eos_platform.operators.plan import EARLIER
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.discretise import costliest, to_operator
from eos_platform.search.parameters import Parameters, Structure, plain_structure
from eos_platform.tasks.base import Subject

DEFAULT, PAIRS, LATE = "default", "pairs", "pairs-late"
OWN = (DEFAULT, PAIRS, LATE)
MORE = 1.6  # times as many tokens as the budget allows are left by the rounds of ``pairs``
ROOM = 0.9  # of all tokens at most; more, and there is nothing for rounds to do
TRIES, CLOSER = 8, 1.02  # until what the search adds fits as well
ROUNDING = 1e-6  # of a cost


def structure_of(workload: Subject, config: SearchConfig, cost: SearchCost) -> Structure:
    """The structure that ``config.start`` names.

    Raises:
        EosError: no such start, one that the model or the budget rules out, or one that acts in the vision tower.
    """
    name = config.start
    if name == DEFAULT:
        return plain_structure(config, workload.target)
    if name in (PAIRS, LATE):
        return _pairs(workload, config, cost, name == LATE)
    if name not in DESIGNS:
        raise EosError(f"start: {unknown('start', name, (*OWN, *DESIGNS))}")
    operator = matched(workload, get_design(name), config, cost)
    return structure_at(workload, operator, config, cost, lambda budget: _at(workload, name, config, cost, budget))


def matched(
    workload: Subject,
    design: Design,
    config: SearchConfig,
    cost: SearchCost,
    budget: float | None = None,
    knobs: Mapping[str, Any] | None = None,
) -> OperatorSpec:
    """A design at the largest number of tokens that the budget allows, and that the model can run.

    Args:
        budget: instead of the configuration's.
        knobs: of the design, by name.

    Raises:
        EosError: there is none.
    """
    most, knobs = config.budget if budget is None else budget, knobs or {}
    operator = largest(design, most, workload.target, cost.deployed, **knobs)
    try:
        workload.check(operator)
    except EosError:
        positions = next((knob for knob in design.knobs(workload.target) if knob.name == "positions"), None)
        if positions is None or knobs.get("positions", positions.default) == "keep":
            raise
        operator = largest(design, most, workload.target, cost.deployed, **{**knobs, "positions": "keep"})
        workload.check(operator)
    return operator


def _at(workload: Subject, name: str, config: SearchConfig, cost: SearchCost, budget: float) -> OperatorSpec:
    return matched(workload, get_design(name), config, cost, budget)


def structure_at(
    workload: Subject,
    operator: OperatorSpec,
    config: SearchConfig,
    cost: SearchCost,
    again: Callable[[float], OperatorSpec],
) -> Structure:
    """The structure of a design's operator, at as many tokens as leave room for what the search adds.

    Args:
        again: the same design at another budget.

    Raises:
        EosError: it acts in the vision tower, weighs in a way that is not searched, or there is no room.
    """
    if operator.sees_less or operator.tower_sites:
        raise EosError(
            f"start: '{operator.name}' acts in the vision tower, where nothing is searched; it is measured, not refined"
        )
    if any(site.reads_raw or site.mixing == "product" or _reads_earlier(site) for site in operator.sites):
        raise EosError(
            f"start: '{operator.name}' weighs features as they are, multiplies them, or compares layers, which a search"
            " does not: it is measured, not refined"
        )
    if any(site.segments is not None for site in operator.sites):
        raise EosError(
            f"start: '{operator.name}' cuts films into segments, which a search does not: it is measured, not refined"
        )
    budget = config.budget
    for _ in range(TRIES):
        structure = Structure(config.start, operator.decoder_sites, (), config.selector)
        takes = price_of(workload, structure, config, cost)
        if takes <= config.budget:
            return structure
        budget -= CLOSER * (takes - config.budget)
        smaller = again(budget)
        if smaller.counts == operator.counts:  # what is over is less than a token costs
            budget = (1 - ROUNDING) * min(budget, cost.deployed(operator))
            smaller = again(budget)
        operator = smaller
    raise EosError(f"start: the budget leaves no room for what a search adds to '{config.start}'")


def _reads_earlier(site: SiteSpec) -> bool:
    return any(site.score.get(name) for name in EARLIER)


def price_of(workload: Subject, structure: Structure, config: SearchConfig, cost: SearchCost) -> float:
    """What a head costs once all that is learned at it is there."""
    parameters = Parameters(config, workload.target, workload.shape.hidden, workload.features, structure)
    return cost.deployed(to_operator(costliest(parameters), (), workload.target, "price"))


def _pairs(workload: Subject, config: SearchConfig, cost: SearchCost, late: bool) -> Structure:
    target = workload.target
    plain = Parameters(config, target, workload.shape.hidden, workload.features)
    with torch.no_grad():
        counts = plain.counts(cost.scale, config.budget).tolist()
    keep = math.floor(counts[0]) if late else math.ceil(MORE * counts[0])
    own = plain.layers[1:] if late else plain.layers
    if not own or not 1 <= keep <= ROOM * target.tokens:
        raise EosError(f"start: '{config.start}' has no room at budget {config.budget:g}")
    merge = Transfer(gamma=1.0, tau=0.0, nu=1.0, to="destinations")
    head = tuple(
        SiteSpec(
            layer=0,
            scope=config.scope,
            keep=count,
            selector="alternate",
            transfer=merge,
            beta=1.0,
            positions=config.positions,
        )
        for count in rounds(target.tokens, keep)
    )
    return Structure(config.start, head, own, "score" if late else config.selector)
