"""What relaxed sites hand from layer to layer, and what they tell of themselves.

Legend: b batch, k tokens present, n visual tokens present.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from eos_platform.models.attention.rope import Rope
from eos_platform.models.runtime.token_state import TokenState


@dataclass
class Trace:
    """What the sites did in the latest call of the language model, one entry a site."""

    counts: list[Tensor] = field(default_factory=list)  # soft count, mean over the batch
    presence: list[Tensor] = field(default_factory=list)  # (b, n) each


@dataclass
class State:
    """Between two layers, from the first site on.

    What a layer is handed is made of what its model hands it, once for each mask and each rotary embedding there is:
    kinds of attention differ in both. They are told apart by identity, and held, so that none takes another's place.
    """

    present: TokenState
    column_bk: Tensor | None  # which columns of the model's own mask are there; None: all of them
    presence_bn: Tensor
    position_bk: Tensor  # not necessarily whole numbers
    lengths: tuple[int, ...]  # visual tokens present of each unit, by group of units
    renumbered: bool = False
    masks: dict[int, tuple[Tensor | None, Tensor]] = field(default_factory=dict)
    ropes: dict[int, tuple[Tensor, Rope]] = field(default_factory=dict)
    carried_bk: Tensor | None = None  # what heads carry in place of masks
