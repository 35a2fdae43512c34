"""MMTok: keep tokens that cover the question's words and the picture.

Source: Dong et al., "MMTok: Multimodal Coverage Maximization for Efficient Inference of VLMs", arXiv
2508.18264.

Parameters: selector ``coverage`` before the language model, without a score. Text rows, each a softmax over visual
tokens of cosines / ``text_temperature`` (.02), weigh 1 together; visual rows, of cosines / ``temperature`` (.2), weigh
``image`` (.5) together. gamma = 0, positions renumbered.

Deviations: visual tokens are compared after the projector instead of in the vision tower; text rows are all tokens
after the image, where the original takes stop words and its stock prompts out; patches of letterboxing are excluded
only where the knob ``exclude_padding`` says so (on LLaVA the original always does, which no rival is given; any site
whose selector can pass tokens over may have it).

Published: 192, 128, 64 and 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import Coverage, SiteSpec, Target


def _site(
    keep: int,
    text_temperature: float = 0.02,
    temperature: float = 0.2,
    image: float = 0.5,
    positions: str = "renumber",
    exclude_padding: bool = False,
) -> SiteSpec:
    rule = Coverage(visual=image, temperature=temperature, text=1.0, text_temperature=text_temperature)
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="coverage",
        coverage=rule,
        exclude_padding=exclude_padding,
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    names = ("text_temperature", "temperature", "image", "positions", "exclude_padding")
    return (_site(whole(tokens), *(knobs[name] for name in names)),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("text_temperature", 0.02, 0.005, 0.2, log=True),
        Knob("temperature", 0.2, 0.02, 1.0, log=True),
        Knob("image", 0.5, 0.05, 5.0, log=True),
        Knob("exclude_padding", False, choices=(False, True)),
        positions_knob("renumber"),
    )


MMTOK = Design(
    "mmtok",
    "prune",
    "Dong et al., arXiv 2508.18264",
    "keeps what covers text and picture",
    _make,
    _knobs,
    {nominal: as_published("mmtok", nominal, _site(nominal)) for nominal in (192, 128, 64, 16)},
)
