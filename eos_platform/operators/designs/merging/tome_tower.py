"""ToMe inside the vision tower: every block merges the same number of the most similar pairs.

Source: Bolya, Fu, Dai, Zhang, Feichtenhofer, Hoffman, "Token Merging: Your ViT But Faster", arXiv 2210.09461.

Parameters: tower sites before every used block from the second on; selector ``alternate``, similarity ``keys``,
gamma = 1, tau = 0, transfer to destinations, nu = 1 (the mean weighted by sizes), beta = 1 (proportional attention).
No round merges more than half; where that caps the last ones the others merge more, and where a round a block is not
enough (short towers), blocks take as many rounds as it takes.

Deviations: a site stands before a block instead of between its attention and its MLP, so the keys are those of the
block to come and the last used block merges nothing (with the knob ``last`` one more round stands behind it, before the
projector, by its own keys); the number merged may differ by one between blocks, so that any
count can be met; parity of places ignores the class token, which takes no part; order stays that of the image, and
positions in the language model are those of the tokens that received. The authors give no counts for a LLaVA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob
from eos_platform.operators.designs.schedule import evenly, tower_blocks, whole
from eos_platform.operators.spec import SiteSpec, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep, blocks, each = whole(tokens), [*tower_blocks(target)[knobs["first"] - 1 :]], 1
    if knobs["last"]:
        blocks.append(target.vision_layers)
    while (counts := evenly(target.tokens, keep, each * len(blocks), at_most_half=True))[-1] > keep:
        each += 1
    merge = Transfer(gamma=1.0, tau=0.0, nu=1.0, to="destinations")
    sites, left = [], target.tokens
    for number, count in enumerate(counts):
        if count < left:
            site = SiteSpec(
                place="tower",
                layer=blocks[number // each],
                keep=count,
                selector="alternate",
                similarity=knobs["similarity"],
                transfer=merge,
                beta=knobs["beta"] if blocks[number // each] < target.vision_layers else 0.0,
            )
            sites.append(site)
            left = count
    return tuple(sites)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("first", 1, 1, max(1, target.vision_layers - 1)),
        Knob("similarity", "keys", choices=("keys", "hidden")),
        Knob("beta", 1.0, 0.0, 1.0),
        Knob("last", False, choices=(False, True)),
    )


TOME_TOWER = Design(
    "tome-tower",
    "merge",
    "Bolya et al., arXiv 2210.09461",
    "the same, block by block of the tower",
    _make,
    _knobs,
)
