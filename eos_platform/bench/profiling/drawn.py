"""Operators drawn at random: what predictions are held against, and never fitted to."""

from __future__ import annotations

import math
import random

from eos_platform.bench.operators import direction, steering
from eos_platform.common.errors import EosError
from eos_platform.operators.designs import get_design
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Support, Target, Transfer

# by name, in this order: a seed is to draw the same operator when other designs have come
FROM = (
    "adaptive-pool", "cdpruner", "cen-cdpruner", "cen-divprune", "dart", "diffrate", "divprune", "downsample",
    "fastervlm", "fastv", "holov", "mmtok", "nuwa", "pool", "prumerge", "prumerge+", "pyramiddrop", "random", "scope",
    "sparsevlm", "sparsevlm-v2", "stride", "tome", "tome-tower", "tops", "v2drop", "visionzip", "vispruner", "vtw",
    "zoo-prune",
)  # fmt: skip
FEATURES = ({"norm": 1.0}, {"norm": 0.5, "uniqueness": 0.5}, {"last_text": 1.0}, {"mean_text": 0.5, "uniqueness": 0.5})
SITES = (1, 2, 2, 3)
LEAST = 0.02  # of the visual tokens, that stay after a first site
TRIES = 100


def drawn(target: Target, width: int, seed: int) -> OperatorSpec:
    """An operator: a published design at some number of tokens, or sites as a search might find them.

    Args:
        width: of the hidden states.
        seed: the same operator for the same seed.
    """
    chance = random.Random(seed)
    for _ in range(TRIES):
        operator = _design(target, chance) if chance.random() < 0.4 else _sites(target, width, chance)
        if operator is not None:
            return operator.model_copy(update={"name": f"drawn-{seed}"})
    raise EosError(f"no operator could be drawn for {target.tokens} visual tokens and {target.layers} layers")


def alone(operator: OperatorSpec) -> bool:
    """Whether it does something, in the decoder only, and reads nothing of the vision tower."""
    plan = OperatorPlan.of(operator)
    quiet = not plan.tower and not plan.tower_features and not operator.sees_less and not operator.image
    return quiet and any(planned.active for planned in plan.decoder)


def _tokens(target: Target, chance: random.Random) -> int:
    """Few and many alike: even in the logarithm."""
    return max(1, round(target.tokens * math.exp(chance.uniform(math.log(LEAST), math.log(0.8)))))


def _design(target: Target, chance: random.Random) -> OperatorSpec | None:
    name = chance.choice(FROM)
    try:
        operator = get_design(name).build(target, _tokens(target, chance))
    except EosError:  # it cannot have so few
        return None
    return operator if alone(operator) else None


def _sites(target: Target, width: int, chance: random.Random) -> OperatorSpec | None:
    layers = sorted(chance.sample(range(target.layers), min(target.layers, chance.choice(SITES))))
    if chance.random() < 0.5:
        layers[0] = 0
    sites, here = [], target.tokens
    for number, layer in enumerate(layers):
        keep = _tokens(target, chance) if number == 0 else max(1, round(here * chance.uniform(0.3, 0.95)))
        if keep >= here:
            continue
        here = keep
        probed, moves = chance.random() < 0.5, chance.random() < 0.7
        diverse = chance.random() < 0.5
        sites.append(
            SiteSpec(
                layer=layer,
                keep=keep,
                selector="diverse_topk" if diverse else "score",
                spread=1.0 if diverse else 0.0,
                score=chance.choice(FEATURES),
                probe=direction(width, number) if probed else (),
                steering=steering(width, number) if probed and chance.random() < 0.5 else None,
                transfer=Transfer(gamma=0.9, tau=chance.choice((0.0, 0.02)), support=Support())
                if moves
                else Transfer(),
                beta=0.9 if moves else 0.0,
            )
        )
    operator = OperatorSpec(name="drawn", target=target, sites=tuple(sites))
    return operator if sites and alone(operator) else None
