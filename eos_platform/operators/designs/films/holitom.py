"""HoliTom: a film cut so that most tokens repeat the first frame of their segment; what is left thinned, twice.

Source: Shao, Tao, Qin, You, Sui, Wang, "HoliTom: Holistic Token Merging for Fast Video Large Language Models", arXiv
2505.21334.

Parameters: selector ``segments`` before the language model: cut so that the most tokens stand still, which are those of
places with a cosine above .8 from each frame to the next; they become one token each, their mean. Of all others the
same share stays: of those that move in a frame by the attention received in the vision tower, of those that stand still
in a segment as centres (7 nearest), .6 of each and .4 of the mean of those that join it. Before layer 18 of 28 half of
the tokens stay, by the attention of the last text token, and each other is averaged into the one most like it (gamma =
1, tau = 0, nu = 1). Positions renumbered.

Deviations: the number of tokens that stays is one for all films, also of those that stand still to such a degree that
fewer tokens are left than asked for (then some of their repetitions stay too). Inside, all that join a token are
averaged at once, where the original takes them one by one, halving what came before each time.

Published: shares of .10 to .25 before the language model; a cosine of .65 at .10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.films.fastvid import SALIENCE
from eos_platform.operators.designs.films.segmented import segment_site, two_stages
from eos_platform.operators.designs.schedule import depth
from eos_platform.operators.spec import Segments, SiteSpec, Target, Transfer

INSIDE = 18 * 32 / 28  # of a decoder of 32 layers
NEIGHBOURS, OWN = 7, 0.6


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    first, later = two_stages(target, tokens, depth(INSIDE, target), knobs["inside"])
    rule = Segments(cut="static", still="each", above=knobs["alike"], salient=1.0, neighbours=NEIGHBOURS, own=OWN)
    inside = Transfer(gamma=1.0, tau=0.0, nu=1.0)
    return (
        segment_site(first, rule, knobs),
        *(
            SiteSpec(
                layer=layer,
                scope="film",
                keep=keep,
                score={"last_text": 1.0},
                transfer=inside,
                positions=knobs["positions"],
            )
            for layer, keep in later
        ),
    )


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("alike", 0.8, 0.3, 0.99),
        Knob("inside", 0.5, 0.1, 1.0),
        Knob("feature", "received", choices=SALIENCE),
        positions_knob("renumber"),
    )


HOLITOM = Design(
    "holitom",
    "hybrid",
    "Shao et al., arXiv 2505.21334",
    "of a film, merges what stands still",
    _make,
    _knobs,
    films=True,
    coarse=True,  # what is pruned inside is pruned at every count
)
