"""How important each token is: features, z-scored over the tokens present, mixed and brought to unit spread.

Unit spread matters: with it, temperature alone sets how sharp a relaxed selection is, and a search cannot soften its
selection by shrinking the weights.

Legend: b batch, n tokens, d width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import ALL_FEATURES, SEARCHED
from eos_platform.operators.tokens import at_least_float32, unit

WORST = 1e-6  # what the least of a feature, or of a score, brought to [0, 1], still multiplies by
ROUNDING = 1e-6  # of values that differ by no more of their size, none is the larger
FAINT = 1e-12  # the least that features taken as they are multiply by


def norm_feature(x_bnd: Tensor, presence_bn: Tensor | None = None) -> Tensor:
    """Length of each token (b, n); presence plays no part in it."""
    return at_least_float32(x_bnd).norm(dim=-1)


def uniqueness_feature(x_bnd: Tensor, presence_bn: Tensor | None = None) -> Tensor:
    """1 - mean cosine to the other tokens present (b, n), in O(nd): a sum of cosines is a cosine with the sum."""
    unit_bnd = unit(x_bnd)
    presence_bn = torch.ones_like(unit_bnd[..., 0]) if presence_bn is None else presence_bn.to(unit_bnd.dtype)
    total_bd = torch.einsum("bn,bnd->bd", presence_bn, unit_bnd)
    own_bn = presence_bn * unit_bnd.square().sum(-1)
    others_bn = presence_bn.sum(-1, keepdim=True) - presence_bn
    # a token alone has no others: the floor keeps its 0 / 0 at 0
    return 1 - (_along(unit_bnd, total_bd) - own_bn) / others_bn.clamp_min(1e-2)


def probe_feature(x_bnd: Tensor, probe: Tensor) -> Tensor:
    """What a learned direction says of each token (b, n): its cosine with it, times the direction's length.

    Args:
        x_bnd: the tokens.
        probe: the direction (d,), or one for each prompt (b, d).
    """
    unit_bnd = unit(x_bnd)
    return _along(unit_bnd, probe.to(unit_bnd.dtype).expand(len(x_bnd), -1))


def _along(x_bnd: Tensor, y_bd: Tensor) -> Tensor:
    """x_i . y of each token (b, n)."""
    if torch.compiler.is_compiling():  # summed while x is made; a product would have it written out before
        return (x_bnd * y_bd[:, None]).sum(-1)
    return torch.einsum("bnd,bd->bn", x_bnd, y_bd)


def combine(
    features: Mapping[str, Tensor],
    weights: Mapping[str, float] | Tensor,
    presence_bn: Tensor | None = None,
    probed_bn: Tensor | None = None,
    mixing: str = "sum",
) -> Tensor:
    """The score s (b, n): the weighted sum of z-scored features, of mean 0 and spread 1 over the tokens present.

    A feature (or sum) that does not vary says nothing and gives zeros.

    Args:
        features: name -> (b, n).
        weights: by name, or a tensor in the order of ``SEARCHED``, where features that are not given count nothing.
        presence_bn: how much of each token is there; default: all of it.
        probed_bn: what a learned direction says (``probe_feature``), added as it is to the sum.
        mixing: ``product``: of the features brought to [0, 1], to the power of their weights, instead of the sum.

    Raises:
        EosError: a feature weighed by name is not given.
    """
    used: list[tuple[str, float | Tensor]] = []
    if isinstance(weights, Tensor):
        used += _in_order(features, weights)
    else:
        used += _weighted(features, weights)
    return mixed(features, used, presence_bn, probed_bn, mixing)


def mixed(
    features: Mapping[str, Tensor],
    used: Sequence[tuple[str, float | Tensor]],
    presence_bn: Tensor | None = None,
    probed_bn: Tensor | None = None,
    mixing: str = "sum",
) -> Tensor:
    """``combine`` of the features named, with their weights.

    Raises:
        EosError: there is nothing to mix.
    """
    if not used and probed_bn is None:
        raise EosError("a score needs at least one weighted feature")
    if mixing == "product":
        return _standard(_product([(features[name], weight) for name, weight in used], presence_bn), presence_bn)
    scale: float | Tensor = 0.0  # what the sum is made of, in case its parts cancel
    total_bn: float | Tensor = 0.0
    if used:
        z_kbn = _standard(torch.stack([at_least_float32(features[name]) for name, _ in used]), presence_bn)
        total_bn = torch.zeros_like(z_kbn[0])
        for z_bn, (_, weight) in zip(z_kbn, used, strict=True):
            total_bn = total_bn + weight * z_bn
            scale = scale + weight**2
    if probed_bn is not None:
        scale = scale + probed_bn.detach().square().mean(-1, keepdim=True)
        total_bn = total_bn + probed_bn
    assert isinstance(total_bn, Tensor)
    return _standard(total_bn, presence_bn, scale)


def _product(factors: list[tuple[Tensor, float | Tensor]], presence_bn: Tensor | None) -> Tensor:
    total_bn: Tensor | None = None
    for feature_bn, weight in factors:
        share_bn = scaled(at_least_float32(feature_bn), presence_bn)
        if isinstance(weight, Tensor):  # stays on its device; the slope of a power is not to be infinite
            share_bn = torch.where(weight < 0, 1 - share_bn, share_bn).clamp_min(WORST).pow(weight.abs())
        else:
            share_bn = (1 - share_bn if weight < 0 else share_bn).pow(abs(weight))
        total_bn = share_bn if total_bn is None else total_bn * share_bn
    assert total_bn is not None
    return total_bn


def scaled(value_bn: Tensor, presence_bn: Tensor | None = None) -> Tensor:
    """Brought to [0, 1] over the tokens present (absent ones too lie within); ones where only rounding varies."""
    there_bn = torch.ones_like(value_bn, dtype=torch.bool) if presence_bn is None else presence_bn > 0.5
    low_b1 = value_bn.masked_fill(~there_bn, torch.inf).amin(-1, keepdim=True)
    span_b1 = value_bn.masked_fill(~there_bn, -torch.inf).amax(-1, keepdim=True) - low_b1
    size_b1 = (value_bn * there_bn).detach().abs().amax(-1, keepdim=True)
    varies_b1 = (span_b1 > ROUNDING * size_b1) & span_b1.isfinite()
    share_bn = (value_bn - torch.where(varies_b1, low_b1, 0.0)) / torch.where(varies_b1, span_b1, 1.0)
    return torch.where(varies_b1, share_bn, 1.0).clamp(0.0, 1.0)


def multiplier(score_bn: Tensor, raw_bn: Tensor | None, presence_bn: Tensor | None = None) -> Tensor:
    """log m (b, n), by which a score multiplies how unlike or how useful a token is.

    Args:
        score_bn: the score, brought to [0, 1]; the worst token has next to nothing.
        raw_bn: what is taken as it is instead.
    """
    m_bn = scaled(score_bn, presence_bn).clamp_min(WORST) if raw_bn is None else raw_bn.clamp_min(FAINT)
    return m_bn.log()


def plain(features: Mapping[str, Tensor], weights: Mapping[str, float] | Tensor) -> Tensor:
    """The weighted sum of the features as they are (b, n); where that is negative, 0: no token weighs less than none.

    Raises:
        EosError: a feature weighed by name is not given.
    """
    used = _in_order(features, weights) if isinstance(weights, Tensor) else _weighted(features, weights)
    return torch.stack([weight * at_least_float32(features[name]) for name, weight in used]).sum(0).clamp_min(0.0)


def with_token_features(
    features: Mapping[str, Tensor], x_bnd: Tensor, needed: tuple[str, ...], presence_bn: Tensor | None = None
) -> dict[str, Tensor]:
    """``features`` plus those of ``needed`` that follow from the tokens themselves."""
    full = dict(features)
    for name, feature in (("norm", norm_feature), ("uniqueness", uniqueness_feature)):
        if name in needed and name not in full:
            full[name] = feature(x_bnd, presence_bn)
    return full


def _in_order(features: Mapping[str, Tensor], weights: Tensor) -> list[tuple[str, float | Tensor]]:
    """The features that have a weight; of pictures, weights end before those of films."""
    named = SEARCHED[: len(weights)]
    return [(name, weights[index]) for index, name in enumerate(named) if name in features]


def _weighted(features: Mapping[str, Tensor], weights: Mapping[str, float]) -> list[tuple[str, float | Tensor]]:
    """The features that count, always in the same order."""
    used: list[tuple[str, float | Tensor]] = [
        (name, weights[name]) for name in ALL_FEATURES if weights.get(name, 0.0) != 0
    ]
    for name, _ in used:
        if name not in features:
            given = ", ".join(name for name in features if name in ALL_FEATURES)
            raise EosError(f"this model gives no feature '{name}' here; given: {given or 'none'}")
    return used


def _standard(f_bn: Tensor, presence_bn: Tensor | None, scale: float | Tensor | None = None) -> Tensor:
    """Zero mean and unit spread over the tokens present; zeros where the spread is only rounding.

    Args:
        scale: mean square of the values that rounding happened at; default: of ``f_bn`` itself.
    """
    if presence_bn is None:
        share_bn = torch.full_like(f_bn, 1 / f_bn.shape[-1])
    else:
        share_bn = presence_bn / presence_bn.sum(-1, keepdim=True).clamp_min(1e-6)
    centred_bn = f_bn - (share_bn * f_bn).sum(-1, keepdim=True)
    with torch.no_grad():  # sizes near 1: the cube of a small spread, in the gradient, must not overflow
        size_b1 = (share_bn * centred_bn.abs()).amax(-1, keepdim=True)
        size_b1 = torch.where(size_b1 > 0, size_b1, 1.0)
        limit = math.sqrt(f_bn.shape[-1]) + 1  # no token that is there has a larger z-score; an absent one may
    mean_square_b1 = (share_bn * f_bn.square()).sum(-1, keepdim=True) if scale is None else scale
    centred_bn = centred_bn / size_b1
    variance_b1 = (share_bn * centred_bn.square()).sum(-1, keepdim=True)
    varies_b1 = variance_b1 > 1e-12 * mean_square_b1 / size_b1.square()
    z_bn = centred_bn * torch.where(varies_b1, variance_b1, 1.0).rsqrt()
    return torch.where(varies_b1, z_bn, 0.0).clamp(-limit, limit)
