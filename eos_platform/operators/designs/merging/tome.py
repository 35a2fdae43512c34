"""ToMe before the language model: merge the most similar pairs of an alternating bipartition, round after round.

Source: Bolya, Fu, Dai, Zhang, Feichtenhofer, Hoffman, "Token Merging: Your ViT But Faster", arXiv 2210.09461.

Parameters: selector ``alternate`` (odd tokens and the least matched even ones stay), gamma = 1, tau = 0, transfer to
destinations (odd tokens only), nu = 1 (the mean weighted by sizes), beta = 1 (proportional attention), positions kept.
As few rounds as halving allows (more with the knob ``rounds``), each keeping the same fraction: where a round halves
exactly, every even token is merged, whatever it resembles.

Deviations: rounds follow each other before the language model instead of between the blocks of the vision tower
(``tome-tower`` does that); similarity is the cosine of the projected features instead of attention keys; order stays
that of the image. The paper says nothing of positions in a language model; kept, they serve the bundled models far
better (88 instead of 82 % at a compute ratio of .1). The authors give no counts for a LLaVA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target, Transfer


def rounds(tokens: int, keep: int, more: int = 0) -> tuple[int, ...]:
    """Tokens left after each round, from ``tokens`` down to ``keep``, each at least half of the one before.

    Args:
        tokens: before the first.
        keep: after the last.
        more: rounds beyond the fewest that halving allows.
    """
    counts: list[int] = []
    left, planned = tokens, math.ceil(math.log2(tokens / keep)) + more
    while left > keep:
        remaining = max(1, math.ceil(math.log2(left / keep)), planned - len(counts))
        fraction = (keep / left) ** (1 / remaining)
        left = max(keep, math.ceil(left / 2), min(left - 1, round(left * fraction)))
        counts.append(left)
    return tuple(counts)


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    merge = Transfer(gamma=1.0, tau=0.0, nu=1.0, to="destinations")
    shared = {"selector": "alternate", "transfer": merge, "beta": knobs["beta"], "positions": knobs["positions"]}
    counts = rounds(target.tokens, whole(tokens), knobs["rounds"])
    return tuple(SiteSpec(layer=0, keep=count, **shared) for count in counts)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (Knob("rounds", 0, 0, 6), Knob("beta", 1.0, 0.0, 1.0), positions_knob("keep"))


TOME = Design(
    "tome",
    "merge",
    "Bolya et al., arXiv 2210.09461",
    "merges the most similar pairs, in rounds",
    _make,
    _knobs,
)
