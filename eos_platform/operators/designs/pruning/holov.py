"""HoloV: every strip of the picture keeps its best tokens, as many as its share of the attention.

Source: Zou et al., "Don't Just Chase Highlighted Tokens in MLLMs: Revisiting Visual Holistic Context Retention", arXiv
2510.02912.

Parameters: selector ``score`` on ``vision`` before the language model, with a quota: 16 strips of 36 tokens in raster
order, each in proportion to its mean attention (rounded down, what is left going to the largest). gamma = 0, positions
renumbered.

Deviations: the released code adds the variance of cosines within a strip to the attention, rescaled so that it cancels
in the shares, and ranks within a strip by attention alone: it is left out. A strip of fewer tokens than its share
leaves the others to the best elsewhere, where the original pads with zeros. Order stays that of the image. Where a
vision tower has no class token, the knob ``feature`` may be ``received``, as the original does on Qwen2.5-VL.

Published: 192, 128 and 64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import Quota, SiteSpec, Target

STRIP = 36  # tokens of one


def _site(keep: int, strips: int = 16, positions: str = "renumber", feature: str = "vision") -> SiteSpec:
    quota = Quota(groups=strips, kind="strips", share="mean")
    return SiteSpec(layer=0, keep=keep, score={feature: 1.0}, quota=quota, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), knobs["strips"], knobs["positions"], knobs["feature"]),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    own = max(1, round(target.tokens / STRIP))
    feature = Knob("feature", "vision", choices=("vision", "received"))
    return (Knob("strips", own, 1, max(own, target.grid[0])), feature, positions_knob("renumber"))


HOLOV = Design(
    "holov",
    "prune",
    "Zou et al., arXiv 2510.02912",
    "keeps attended tokens of every strip",
    _make,
    _knobs,
    {nominal: as_published("holov", nominal, _site(nominal)) for nominal in (192, 128, 64)},
)
