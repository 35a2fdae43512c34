"""Which operators are timed: files, hand-designed ones, and what searches find, at a mean number of visual tokens.

Time needs the shape of a searched operator only, so one stands in for it where nothing was searched: two sites as
searches place them, with the selectors, features and transfer they choose, and random directions as probes, which the
question turns.
"""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import torch

from eos_platform.common.errors import EosError, unknown
from eos_platform.models.runtime.operator_source import REGISTRY, operator_from
from eos_platform.operators.designs import DESIGNS, get_design
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target, Transfer

SEARCHED = "searched-like"
RANK = 8  # by which searches let the question turn a probe
LATER = 0.88  # of the first site's tokens, those that the second keeps


def searched_like(target: Target, tokens: float, width: int) -> OperatorSpec:
    """Two sites, at layer 0 and at five eighths of the depth, with ``tokens`` visual tokens a layer on average.

    Args:
        width: of the hidden states.
    """
    second = 5 * target.layers // 8
    share = (second + (target.layers - second) * LATER) / target.layers
    first = min(target.tokens - 1, max(2, round(tokens / share)))
    later = max(1, math.floor((tokens * target.layers - first * second) / (target.layers - second)))
    moved = Transfer(gamma=0.95, tau=0.015, nu=0.8)
    sites = (
        SiteSpec(
            layer=0,
            keep=first,
            selector="diverse_topk",
            spread=1.5,
            score={"norm": 0.05, "uniqueness": 0.05},
            probe=direction(width, 0),
            steering=steering(width, 0),
            transfer=moved,
            beta=0.97,
        ),
        SiteSpec(
            layer=second,
            keep=min(later, first),
            selector="score",
            score={"last_text": 0.2, "mean_text": 0.2, "norm": 0.05, "uniqueness": 0.05},
            probe=direction(width, 1),
            steering=steering(width, 1),
            transfer=moved,
            beta=0.97,
        ),
    )
    return OperatorSpec(name=SEARCHED, target=target, sites=sites)


def direction(width: int, seed: int) -> tuple[float, ...]:
    """A random probe."""
    draw = random.Random(seed)
    return tuple(round(draw.gauss(0.0, 1.0), 4) for _ in range(width))


def steering(width: int, seed: int) -> Steering:
    """A random way for the question to turn a probe, of the rank that searches use."""
    chance = torch.Generator().manual_seed(seed)
    return Steering.of(*torch.randn(2, RANK, width, generator=chance))


def check_named(names: list[str]) -> None:
    """Read the operator files among ``names``, before anything long begins.

    Raises:
        EosError: one that is none, or a name that is neither a file nor a design.
    """
    for name in names:
        if name != SEARCHED and name not in DESIGNS:
            _file(name)


def of_any_size(name: str) -> bool:
    """Whether an operator is made for a number of tokens; a file and some designs have their own."""
    return name == SEARCHED or (name in DESIGNS and not get_design(name).fixed)


def _file(name: str) -> OperatorSpec:
    if name.startswith(REGISTRY):
        return operator_from(name)
    if not name.endswith(".json") and not os.path.lexists(name.replace("\0", "")):
        raise unknown("operator", name, [SEARCHED, *DESIGNS])
    return OperatorSpec.load(Path(name))


def operators_for(names: list[str], target: Target, tokens: float, width: int) -> list[tuple[str, OperatorSpec]]:
    """The operators named: an operator file, a design, or ``searched-like``.

    Raises:
        EosError: a name that is none of these, a file made for another model, a design that cannot have so few tokens.
    """
    operators = []
    for name in names:
        if name == SEARCHED:
            operators.append((name, searched_like(target, tokens, width)))
        elif name in DESIGNS:
            design = get_design(name)
            operators.append((name, design.build(target, target.tokens if design.fixed else tokens)))
        else:
            operator = _file(name)
            if (operator.target.layers, operator.target.grid) != (target.layers, target.grid):
                made, has = (f"{one.layers} layers and {one.tokens} tokens" for one in (operator.target, target))
                raise EosError(f"{name}: made for {made}, not for {has}")
            operators.append((Path(name).stem, operator))
    for name, operator in operators:
        if operator.sees_less:
            raise EosError(f"operator '{name}' acts in the vision tower, which this benchmark does not run")
    return operators
