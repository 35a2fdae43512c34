"""What designs that cut a film into segments share: the site that does it, and a stage inside the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eos_platform.operators.designs.schedule import check_film, stages
from eos_platform.operators.spec import Segments, SiteSpec, Target, Transfer


def segment_site(keep: int, rule: Segments, knobs: Mapping[str, Any]) -> SiteSpec:
    """Before the language model: ``keep`` tokens of the film by ``rule``, which others join.

    Args:
        knobs: ``positions``; and ``feature``, where some tokens stay by score.
    """
    return SiteSpec(
        layer=0,
        scope="film",
        keep=keep,
        selector="segments",
        segments=rule,
        score={knobs["feature"]: 1.0} if "feature" in knobs else {},
        transfer=Transfer(gamma=1.0),
        positions=knobs["positions"],
    )


def two_stages(target: Target, tokens: float, inside: int, share: float) -> tuple[int, list[tuple[int, int]]]:
    """Tokens that stay before the language model, and the (layer, tokens) of the stage inside it where it drops any.

    Args:
        tokens: mean not to be exceeded.
        inside: the layer of the second stage.
        share: of the first stage's tokens that stay there.

    Raises:
        EosError: the target is no film, or even one token is more than ``tokens``.
    """
    check_film(target)

    def fractions(amount: float) -> Sequence[float]:
        most = (target.tokens - 1) / target.tokens  # something is always merged first
        return [most * amount, most * share * amount]

    (_, first), *later = stages(target, tokens, (0, inside), fractions)
    return first, [(layer, keep) for layer, keep in later if keep < first]
