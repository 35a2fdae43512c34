"""Which points a device profile measures: 50 at most, shared out among the modes and batch sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from eos_platform.bench.operators import SEARCHED, searched_like
from eos_platform.bench.profiling.drawn import alone, drawn
from eos_platform.common.errors import EosError
from eos_platform.costs.device.curve import step
from eos_platform.costs.device.profile import Kind, Mode
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec, Target

MOST = 50
FEWEST, EACH = 8, 28  # of one mode at one batch size, at least and at most
EAGER = 10  # of eager mode at one batch size, beside other modes
FIRST = (1, 2, 3)  # steps of a GPU's time that are measured from both sides
# what the batch sizes of a mode get in turn, in the order in which it matters: operators that are fitted to, as a share
# of tokens; early on few and many picks, with and without moving what is dropped, or they could not be told apart
FITTED = (
    (SEARCHED, 0.5), ("divprune", 0.2), ("fastv", 0.3), (SEARCHED, 0.1), ("tome", 0.3), ("pool", 0.25),
    ("sparsevlm", 0.3), (SEARCHED, 0.25), ("dart", 0.15), ("cdpruner", 0.1), ("pyramiddrop", 0.4), ("stride", 0.1),
)  # fmt: skip
SHARES = (0.0, 1.0, 0.12, 0.45, 0.25, 0.7, 0.05, 0.35)  # of the visual tokens, in prefills without operator
DECODED = (0.0, 1.0, 0.3)  # likewise, in the cache that is decoded from


@dataclass(frozen=True)
class Wanted:
    """A point to be measured."""

    kind: Kind
    mode: Mode
    batch: int
    length: int = 0  # tokens of the prompt, or in the cache
    operator: OperatorSpec | None = None
    held_out: bool = False

    @property
    def about(self) -> str:
        """In words."""
        what = f"{self.operator.name} at {self.operator.mean_tokens:.0f}" if self.operator else f"{self.length} tokens"
        return f"{self.kind}, {what}, {self.mode}, batch {self.batch}"


def plan(
    target: Target, width: int, text: int, modes: Sequence[Mode], batches: Sequence[int], pictures: bool = True
) -> list[Wanted]:
    """The points of a profile, ``MOST`` at most.

    Args:
        target: what operators for the model refer to.
        width: of the hidden states.
        text: tokens of a prompt that are not visual.
        modes: that the model runs in.
        batches: prompts at once.
        pictures: whether encoding them is a point too, at every batch size.

    Raises:
        EosError: so many modes and batch sizes that each would get too few.
    """
    settings = list(dict.fromkeys((mode, batch) for batch in batches for mode in modes))
    shared = _shared(settings, MOST - len(batches) * pictures)
    wanted = [Wanted("encode", "eager", batch, target.tokens) for batch in batches] if pictures else []
    fitted, held = dict.fromkeys(modes, 0), 0
    for (mode, batch), each in zip(settings, shared, strict=True):
        decoded = min(len(DECODED), max(2, each // 8)) if mode != "compiled" else 0
        lengths = _lengths(mode, batch, each, target, text)
        unseen = max(1, round((0.2 if mode == "eager" else 0.15) * each))
        wanted += [Wanted("prefill", mode, batch, length) for length in lengths]
        for share in DECODED[:decoded]:
            wanted.append(Wanted("decode", mode, batch, _length(share, target, text)))
        # others for each batch size: what a site takes is fitted over all of a mode
        for _ in range(each - decoded - len(lengths) - unseen):
            wanted.append(Wanted("operator", mode, batch, operator=_fitted(fitted[mode], target, width)))
            fitted[mode] += 1
        for _ in range(unseen):
            wanted.append(Wanted("operator", mode, batch, operator=drawn(target, width, held), held_out=True))
            held += 1
    return wanted


def _shared(settings: Sequence[tuple[Mode, int]], points: int) -> list[int]:
    """How many points each mode at a batch size gets: eager the fewest, where another mode is measured too, as its
    launches take the same time at any length or hide behind the device's work.

    Raises:
        EosError: each would get too few.
    """
    each = points // max(1, len(settings))
    if each < FEWEST:
        raise EosError(
            f"a profile has {MOST} points; {len(settings)} modes at batch sizes would get {each} each: name fewer"
        )
    eager = sum(mode == "eager" for mode, _ in settings)
    others = len(settings) - eager
    if not eager or not others:
        return [min(EACH, each)] * len(settings)
    more = min(EACH, (points - EAGER * eager) // others)
    return [EAGER if mode == "eager" else more for mode, _ in settings]


def _lengths(mode: Mode, batch: int, each: int, target: Target, text: int) -> list[int]:
    """Of prefills without operator, the two outermost first.

    Where a GPU's time rises in steps (``costs/device/curve.py``), the first steps are measured from both sides, and
    between the others the middle of some.
    """
    shortest, end = _length(0.0, target, text), _length(1.0, target, text)
    width = step(batch) if mode != "eager" else 0.0
    most = round(0.48 * each)
    steps = [round(number * width) for number in FIRST if shortest < number * width < end - 1]
    steps = steps[: max(1, (most - 3) // 2)]
    if not steps:
        return list(dict.fromkeys(_length(share, target, text) for share in SHARES[: max(4, round(0.36 * each))]))
    lengths = [shortest, end, *(one + side for one in steps for side in (0, 1))]
    while len(lengths) < most:
        low, high = max(itertools.pairwise(sorted(lengths)), key=lambda gap: gap[1] - gap[0])
        middle = (low + high) / 2
        tile = (math.floor(middle / width) + 0.5) * width  # the middle of a step says most of the others
        lengths.append(round(tile if high - low > 2 * width else middle))
    return lengths


def longest(text: int) -> int:
    """Half as much text again, so that lengths beyond the usual one are measured too."""
    return text + text // 2


def _length(share: float, target: Target, text: int) -> int:
    """Tokens: half the text alone, then shares of the visual tokens and the text, at last more text than usual."""
    if share == 0:
        return max(1, text // 2)
    return round(share * target.tokens) + (longest(text) if share == 1 else text)


def _fitted(number: int, target: Target, width: int) -> OperatorSpec:
    """The ``number``-th operator that is fitted to; beginning again at other counts."""
    for tried in range(number, number + len(FITTED)):
        name, share = FITTED[tried % len(FITTED)]
        tokens = max(2.0, share * target.tokens * 0.8 ** (tried // len(FITTED)))
        try:
            operator = (
                searched_like(target, tokens, width) if name == SEARCHED else get_design(name).build(target, tokens)
            )
        except EosError:  # a design that cannot have so few here
            continue
        if alone(operator):
            return operator.model_copy(update={"name": f"{name}-{tokens:.0f}"})
    return searched_like(target, max(2.0, target.tokens / 4), width)
