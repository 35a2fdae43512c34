"""How many tokens stay where: schedules that use as much of a mean token count as they can, at any depth.

Layers are those of a decoder of 32 (LLaVA-1.5-7B), scaled to the model's depth.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import SiteSpec, Target

SLACK = 1e-9  # counts that are whole but for rounding


def whole(tokens: float) -> int:
    """Tokens that stay when all goes before the language model.

    Raises:
        EosError: not one token.
    """
    if tokens < 1 - SLACK:
        raise EosError(f"cannot leave a mean of {tokens:g} visual tokens; 1 is the fewest")
    return int(tokens + SLACK)


def depth(layer: float, target: Target, scale: float = 1.0) -> int:
    """The layer as deep as ``layer`` of 32: at least 1, at most the last (``scale`` may bring it to 0)."""
    own = min(max(1, round(layer / 32 * target.layers)), target.layers - 1)
    return min(max(0, round(scale * own)), target.layers - 1)


def mean_of(target: Target, stages: Sequence[tuple[int, int]]) -> float:
    """Mean tokens entering the layers, for (layer, tokens from there on), in layer order."""
    total, before, left = 0, 0, target.tokens
    for layer, count in stages:
        total, before, left = total + (layer - before) * left, layer, count
    return (total + (target.layers - before) * left) / target.layers


def one_stage(target: Target, tokens: float, layer: int) -> tuple[int, int]:
    """(layer, tokens from there on): at ``layer``, or before it where no count could be small enough there.

    Raises:
        EosError: not even before the language model.
    """
    whole(tokens)
    n, layers, total = target.tokens, target.layers, tokens * target.layers + SLACK
    layer = min(layer, int((total - layers) / (n - 1))) if n > 1 else layer
    return layer, int((total - layer * n) / (layers - layer))


def stages(
    target: Target, tokens: float, layers: Sequence[int], fractions: Callable[[float], Sequence[float]]
) -> tuple[tuple[int, int], ...]:
    """(layer, tokens from there on) of every stage, all as many layers earlier as it takes to reach ``tokens``.

    Args:
        target: the model.
        tokens: mean not to be exceeded.
        layers: ascending.
        fractions: of all tokens after each stage, for an amount from 0 (next to none) to 1 (all); none ever falls as
            the amount grows, and no stage has more than the one before.

    Raises:
        EosError: even one token from the start is more than ``tokens``.
    """
    whole(tokens)
    n = target.tokens

    def drawn(amount: float, shift: int) -> tuple[tuple[int, int], ...]:
        # an earlier stage rounds up a little sooner: then counts grow one by one, and the mean in the finest steps
        parts = enumerate(fractions(amount))
        counts = [min(n, max(1, math.floor(part * n + (len(layers) - i) * 1e-7))) for i, part in parts]
        placed = (max(0, layer - shift) for layer in layers)
        return tuple(dict(zip(placed, counts, strict=True)).items())  # of stages at one layer, the last one

    shift = next(s for s in range(max(layers) + 1) if mean_of(target, drawn(0.0, s)) <= tokens + SLACK)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        fits = mean_of(target, drawn(middle, shift)) <= tokens + SLACK
        low, high = (middle, high) if fits else (low, middle)
    return drawn(low, shift)


def between(lists: Sequence[Sequence[int]], tokens: int) -> Callable[[float], Sequence[float]]:
    """Fractions for ``stages``, straight lines from no token through published lists of counts to all.

    Args:
        lists: counts after each stage, ascending.
        tokens: that those counts are of.
    """
    points = [[0.0] * len(lists[0]), *([count / tokens for count in one] for one in lists), [1.0] * len(lists[0])]

    def fractions(amount: float) -> Sequence[float]:
        at = min(int(amount * (len(points) - 1)), len(points) - 2)
        part = amount * (len(points) - 1) - at
        return [a + part * (b - a) for a, b in zip(points[at], points[at + 1], strict=True)]

    return fractions


def evenly(tokens: int, keep: int, rounds: int, at_most_half: bool = False) -> tuple[int, ...]:
    """Tokens left after each of several rounds that remove the same number each, from ``tokens`` down to ``keep``.

    Args:
        tokens: before the first.
        keep: after the last.
        rounds: how many.
        at_most_half: none removes more than half; the others then remove more. Where even that does not reach
            ``keep``, the last count is above it.
    """

    def counts(removed: int) -> tuple[int, ...]:
        done, left = [], tokens
        for number in range(1, rounds + 1):
            floor = left - left // 2 if at_most_half else 0
            left = min(left, max(keep, floor, tokens - removed * number // rounds))
            done.append(left)
        return tuple(done)

    enough = range(tokens - keep, rounds * tokens)
    at = bisect_left(enough, True, key=lambda removed: counts(removed)[-1] <= keep) if at_most_half else 0
    return counts(enough[min(at, len(enough) - 1)])


def tower_blocks(target: Target) -> range:
    """The blocks of the vision tower that merging designs act before: all that are used but the first.

    Raises:
        EosError: the target says of no tower that has any.
    """
    if target.vision_layers < 2:
        raise EosError("acts inside the vision tower, and the target knows of none (vision_layers, at least 2)")
    return range(1, target.vision_layers)


def check_film(target: Target) -> int:
    """Tokens of a frame.

    Raises:
        EosError: the target is of pictures, not of films.
    """
    if target.frames < 2:
        raise EosError("looks across the frames of a film, and the target is of single pictures (frames, at least 2)")
    return frame_tokens(target)


def frame_tokens(target: Target) -> int:
    """Tokens of a frame; of a picture, all."""
    return target.tokens // target.frames


def first_frame_whole(target: Target, tokens: float) -> int:
    """Tokens of a film that stay, the first frame's among them.

    Raises:
        EosError: they are fewer than it has, or the target is of no film.
    """
    one, keep = check_film(target), whole(tokens)
    if keep < one:
        raise EosError(f"keeps the first frame whole: {tokens:g} tokens are fewer than the {one} it has")
    return keep


def before_projector(target: Target, site: SiteSpec) -> tuple[SiteSpec, ...]:
    """What a site before the language model does, done between vision tower and projector instead.

    Raises:
        EosError: the target says of no vision tower.
    """
    if target.vision_layers < 1:
        raise EosError("acts behind the vision tower, and the target knows of none (vision_layers)")
    there = site.model_copy(update={"place": "tower", "layer": target.vision_layers, "positions": "keep"})
    if site.positions == "keep":
        return (there,)
    renumbered = SiteSpec(layer=0, keep=site.keep, selector="grid", positions="renumber")
    return there, renumbered


def shape_within(grid: tuple[int, int], tokens: float, stretch: float) -> tuple[int, int]:
    """The largest (rows, columns) of at most ``tokens`` that is, against ``grid``, stretched ``stretch`` times at most.

    Of equally large ones the least stretched, more rows before fewer. Where none is that even, the largest there is.

    Raises:
        EosError: not one token.
    """
    most = whole(tokens)

    def stretched(rows: int, columns: int) -> float:
        return abs(math.log(rows / grid[0] * grid[1] / columns))

    shapes = [(h, w) for h in range(1, min(grid[0], most) + 1) for w in range(1, min(grid[1], most // h) + 1)]
    even = [shape for shape in shapes if stretched(*shape) <= math.log(stretch) + SLACK]
    return max(even or shapes, key=lambda shape: (shape[0] * shape[1], -round(stretched(*shape), 9), shape[0]))
