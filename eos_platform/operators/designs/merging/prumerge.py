"""LLaVA-PruMerge and PruMerge+: keep what the class token attends to, and give it the neighbours of its kind.

Source: Shang, Cai, Xu, Lee, Yan, "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models",
arXiv 2403.15388.

Parameters: selector ``score`` on ``next_vision`` (the class token's attention by the projections of the block after
the last used one) before the language model. Transfer by anchor: each kept token adds the 32 tokens whose keys are
nearest, from all others, kept ones too, each times its attention as it is (source ``attention``, gamma = 1, tau = inf,
nu = 0). ``summary``: one more token is the attention-weighted sum of all that go. Positions renumbered.
``prumerge+`` keeps a quarter by attention (``important``) and spreads the others evenly (selector ``spaced``).

Deviations: counts are static, where the original keeps as many as stand out in each picture; similarity is by the keys
of the last used block, mean over heads, instead of the next block's as one head; order stays that of the image instead
of descending attention, and the summary stands in the place of the last token that went instead of at the end;
prumerge+'s strided tokens are spaced among the rest instead of over the whole grid (which adds those not yet kept);
their share is three quarters, as the original's stride gives; tokens are added up after the projector, the original's
before it (where the sum of all that go means more: after it the summary is next to nothing), as they are where the knob
``place`` is ``projector`` (LLaVA only). No counts are published: they vary by picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import before_projector, whole
from eos_platform.operators.spec import SiteSpec, Support, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep = whole(tokens)
    summary = knobs["summary"] and keep > 1
    chosen = keep - summary
    strided = min(round(knobs.get("spread", 0.0) * chosen), chosen - 1)
    site = SiteSpec(
        layer=0,
        keep=keep,
        selector="spaced" if strided else "score",
        important=chosen - strided if strided else 0,
        score={"next_vision": 1.0},
        similarity="keys",
        transfer=Transfer(
            gamma=1.0,
            tau=math.inf,
            nu=0.0,
            source="attention",
            by="anchor",
            support=Support(kind="nearest", size=min(knobs["neighbours"], target.tokens - 1)),
        ),
        summary=summary,
        positions=knobs["positions"],
    )
    return before_projector(target, site) if knobs["place"] == "projector" else (site,)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("neighbours", 32, 4, 128, log=True),
        Knob("summary", True, choices=(True, False)),
        Knob("place", "decoder", choices=("decoder", "projector")),
        positions_knob("renumber"),
    )


PRUMERGE = Design(
    "prumerge",
    "hybrid",
    "Shang et al., arXiv 2403.15388",
    "keeps attended tokens, adds neighbours",
    _make,
    _knobs,
)

PRUMERGE_PLUS = Design(
    "prumerge+",
    "hybrid",
    "Shang et al., arXiv 2403.15388",
    "the same, and tokens at even distances",
    _make,
    lambda target: (Knob("spread", 0.75, 0.1, 0.9), *_knobs(target)),
)
