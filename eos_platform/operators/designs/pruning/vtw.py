"""VTW: from some layer on there are no visual tokens.

Source: Lin, Lin, Lin, Ji, "Boosting Multimodal Large Language Models with Visual Tokens Withdrawal for Rapid
Inference", arXiv 2405.05803.

Parameters: selector ``drop_all`` before one layer, positions of the text kept. The layer is the last one that keeps
within the mean asked for (before the language model where that is less than one layer's worth).

Deviations: the authors look for the layer by how much the model's output changes on 20 samples; here compute sets it.

Published: their code withdraws before layer 15 (a mean of 270), their command line before 16 (288).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, as_published
from eos_platform.operators.designs.schedule import SLACK
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_drop_all(int(tokens * target.layers / target.tokens + SLACK)),)


def _drop_all(layer: int) -> SiteSpec:
    return SiteSpec(layer=layer, keep=0, selector="drop_all")


VTW = Design(
    "vtw",
    "prune",
    "Lin et al., arXiv 2405.05803",
    "discards all tokens from some layer on",
    _make,
    published={nominal: as_published("vtw", nominal, _drop_all(layer)) for nominal, layer in ((270, 15), (288, 16))},
    coarse=True,
)
