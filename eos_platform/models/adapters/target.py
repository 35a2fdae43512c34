"""Which model an operator is for: its parts, by family, and whether an operator fits it."""

from __future__ import annotations

from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import family_of
from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.hooks import Hook, parameters, renamed
from eos_platform.models.attention.implementations import check_attention
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.required_features import decoder_needs
from eos_platform.operators.spec import OperatorSpec, Target

__all__ = ["IN_TOWER", "Hook", "Parts", "absent_of", "check_fits", "parts_of", "renamed", "target_of"]

REMEDY = "; eos.rescale(operator, eos.target_of(model)).operator, or attach(..., rescale=True), makes one that fits"
IN_TOWER = ("vision", "norm", "uniqueness")  # the features there are inside the vision tower
FROM_TOWER = ("vision", "next_vision", "keys")  # what sites in the decoder may read of it


def parts_of(model: Any) -> Parts:
    """The parts of a model, whatever is wrapped around it.

    Raises:
        EosError: of no family known here, or not built as its family is.
    """
    model = unwrapped(model)
    return family_of(model).parts(model)


def target_of(model: Any, name: str = "") -> Target:
    """What an operator made for this model refers to."""
    parts = parts_of(model)
    return Target(layers=len(parts.layers), grid=parts.grid, model=name, vision_layers=parts.used)


def absent_of(parts: Parts) -> tuple[str, ...]:
    """What sites in the decoder may read elsewhere, and not of this model."""
    reads = parts.family is None or (parts.family.reads_tower and parts.used > 0)
    return () if reads else FROM_TOWER


def check_fits(parts: Parts, operator: OperatorSpec) -> None:
    """Refuse an operator made for another model.

    Raises:
        EosError: other number of decoder layers, other grid, or an attention that cannot carry it.
    """
    last = len(parts.layers) - 1
    for number, site in enumerate(operator.sites):
        if site.place == "decoder" and site.layer > last:
            raise EosError(
                f"operator '{operator.name}': sites.{number}: layer {site.layer} is beyond the model's last"
                f" decoder layer ({last}){REMEDY}"
            )
        of = parts.language_model if site.place == "decoder" else parts.tower
        width = of.config.hidden_size if site.probe else 0
        if site.probe and len(site.probe) != width:
            raise EosError(
                f"operator '{operator.name}': sites.{number}: a probe of {len(site.probe)} numbers; the model's"
                f" tokens have {width}"
            )
    varies = parts.family is not None and parts.family.varies
    if operator.target.grid != parts.grid and not varies:  # where sizes vary, an image's share of tokens counts
        made, has = ("x".join(map(str, grid)) for grid in (operator.target.grid, parts.grid))
        raise EosError(f"operator '{operator.name}' is for a {made} grid of visual tokens; the model has {has}{REMEDY}")
    if operator.target.layers != last + 1:
        raise EosError(
            f"operator '{operator.name}' is for {operator.target.layers} decoder layers; the model has {last + 1}"
            + REMEDY
        )
    check_attention(parts, operator)
    _check_tower(parts, operator)


def _check_tower(parts: Parts, operator: OperatorSpec) -> None:
    """The same for what happens before the decoder."""
    where, family = f"operator '{operator.name}'", parts.family
    if family is not None and not family.reads_tower:
        asked = sorted(decoder_needs(operator) & set(FROM_TOWER))
        asked += ["sites in the vision tower"] * bool(operator.tower_sites)
        asked += ["a shrunk picture"] * bool(operator.image)
        if asked:
            raise EosError(
                f"{where}: {', '.join(asked)}: not for {family.name}, whose vision tower is not reached into"
            )
    if family is not None and family.axes > 1 and any(site.positions == "renumber" for site in operator.sites):
        raise EosError(f"{where}: positions of several axes ({family.name}) are kept; 'renumber' cannot be")
    for number, site in enumerate(operator.tower_sites):
        if site.layer >= parts.used:
            raise EosError(
                f"{where}: sites.{number}: layer {site.layer} is beyond the last layer of the vision tower that the"
                f" model uses ({parts.used - 1})"
            )
        for name, weight in site.score.items():
            if weight and name not in IN_TOWER:
                raise EosError(
                    f"{where}: sites.{number}: the vision tower has no feature '{name}'; it has {', '.join(IN_TOWER)}"
                )
    if operator.sees_less and parts.states > 1:
        raise EosError(f"{where}: the model uses several layers of its vision tower, which would differ in tokens")
    if operator.arriving < operator.target.tokens and "interpolate_pos_encoding" not in parameters(
        type(parts.tower).forward
    ):
        raise EosError(f"{where}: {type(parts.tower).__name__} takes pictures of one size only")
