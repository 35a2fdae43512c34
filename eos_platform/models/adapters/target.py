"""Which model an operator is for: its parts, by family, and whether an operator fits it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import family_of
from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.hooks import Hook, parameters, renamed
from eos_platform.models.attention.implementations import biases_lacking, check_attention
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.operators.plan import RECEIVED, TOWER_FEATURES, Need, OperatorPlan
from eos_platform.operators.rescale import rescale
from eos_platform.operators.spec import OperatorSpec, Target

__all__ = [
    "Hook",
    "Parts",
    "absent_of",
    "check_fits",
    "check_plan",
    "lacking",
    "parts_of",
    "renamed",
    "rescaled_to",
    "target_of",
    "unmet",
]

REMEDY = "; eos.rescale(operator, eos.target_of(model)).operator, or attach(..., rescale=True), makes one that fits"
IN_TOWER = ("vision", "received", "flow", "norm", "uniqueness")  # the features there are inside the vision tower
BEHIND_TOWER = (*IN_TOWER, "next_vision")  # between its last block and the projector
FROM_TOWER = TOWER_FEATURES  # what sites in the decoder may read of it
IN_TOWER_NEEDS = (Need.TOWER_FEATURES, Need.TOWER_SITES, Need.SMALLER_IMAGE)
BIASES = (Need.SIZE_BIAS, Need.TOWER_SIZE_BIAS)


def parts_of(model: Any) -> Parts:
    """The parts of a model, whatever is wrapped around it.

    Raises:
        EosError: of no family known here, or not built as its family is.
    """
    model = unwrapped(model)
    return family_of(model).parts(model)


def target_of(model: Any, name: str = "") -> Target:
    """What an operator made for this model refers to."""
    return _target(parts_of(model), name)


def _target(parts: Parts, name: str = "") -> Target:
    return Target(layers=len(parts.layers), grid=parts.grid, model=name, vision_layers=parts.used)


def absent_of(parts: Parts) -> tuple[str, ...]:
    """What sites in the decoder may read elsewhere, and not of this model."""
    reads = parts.family is None or (parts.family.reads_tower and parts.used > 0)
    if reads:
        return ()
    if parts.family is not None and parts.family.tower_attention(parts) is not None:
        return tuple(name for name in FROM_TOWER if name != RECEIVED)
    return FROM_TOWER


def rescaled_to(parts: Parts, spec: OperatorSpec) -> OperatorSpec:
    """An operator made to fit a model.

    Raises:
        EosError: a site would lose all that it ranks by, or has no place in the model.
    """
    target = _target(parts)
    if parts.family is not None and parts.family.varies:  # shares count, whatever the grid they were found on
        target = target.of_grid(spec.target.axes)
    elif spec.target.frames > 1:  # as many frames, of the model's own grid
        target = target.of_grid((spec.target.frames, *parts.grid))
    if not (spec.target.vision_layers and target.vision_layers):
        target = target.model_copy(update={"vision_layers": spec.target.vision_layers})
    one_axis = parts.family is None or parts.family.axes == 1
    width = parts.language_model.config.hidden_size
    target = target.model_copy(update={"model": spec.target.model})  # a name for people: the model itself has none
    probes = all(len(site.probe) in (0, width) for site in spec.sites) and spec.target == target
    return rescale(spec, target, probes=probes, positions=one_axis, absent=absent_of(parts)).operator


def check_fits(parts: Parts, operator: OperatorSpec) -> None:
    """Refuse an operator that cannot be at work on a model (see ``check_plan``).

    Raises:
        EosError: why.
    """
    check_plan(parts, OperatorPlan.of(operator))


def check_plan(parts: Parts, plan: OperatorPlan) -> None:
    """Refuse an operator that cannot be at work on a model.

    Raises:
        EosError: it was made for a model of other depth or grid; or it needs what this one does not give.
    """
    for why in _misfits(parts, plan.operator):
        raise EosError(why)
    check_attention(parts)
    for _, why in unmet(parts, plan):
        raise EosError(why)
    for why in _tower_misfits(parts, plan):
        raise EosError(f"operator '{plan.operator.name}': {why}")


def unmet(parts: Parts, plan: OperatorPlan) -> Iterator[tuple[Need, str]]:
    """What a plan needs and a model does not give, and what to say of it."""
    where, lacks = f"operator '{plan.operator.name}'", lacking(parts)
    for restriction in plan.restrictions:
        if restriction.need in BIASES and restriction.need in lacks:
            yield restriction.need, f"{where}: sites.{restriction.site}: {restriction.what} {lacks[restriction.need]}"
    closed = [need for need in IN_TOWER_NEEDS if need in plan.needs and need in lacks]
    if closed and not _reached_into(parts):
        named = [
            *sorted(plan.tower_features - {RECEIVED}),
            *(str(need) for need in closed if need is not Need.TOWER_FEATURES),
        ]
        yield closed[0], f"{where}: {', '.join(named)}: {lacks[closed[0]]}"
    for need in (Need.RENUMBERING, Need.FEWER_FROM_TOWER, Need.SMALLER_IMAGE, Need.RECEIVED):
        if need in plan.needs and need in lacks:
            yield need, f"{where}: {lacks[need]}"


def lacking(parts: Parts) -> dict[Need, str]:
    """What operators may need and a model does not give, whatever the operator, and why not."""
    family, missing = parts.family, dict(biases_lacking(parts))
    if not _reached_into(parts):
        name = "this model" if family is None else family.name
        missing |= dict.fromkeys(IN_TOWER_NEEDS, f"not for {name}, whose vision tower is not reached into")
        if family is not None and family.tower_attention(parts) is None:
            missing[Need.RECEIVED] = f"'{RECEIVED}': not for {name}, whose vision tower's attention is not read"
    elif "interpolate_pos_encoding" not in parameters(type(parts.tower).forward):
        missing[Need.SMALLER_IMAGE] = f"{type(parts.tower).__name__} takes pictures of one size only"
    if family is not None and family.axes > 1:
        missing[Need.RENUMBERING] = f"positions of several axes ({family.name}) are kept; 'renumber' cannot be"
    if parts.states > 1:
        missing[Need.FEWER_FROM_TOWER] = (
            "the model uses several layers of its vision tower, which would differ in tokens"
        )
    return missing


def _reached_into(parts: Parts) -> bool:
    return parts.family is None or parts.family.reads_tower


def _misfits(parts: Parts, operator: OperatorSpec) -> Iterator[str]:
    """What shows that an operator was made for another model."""
    where, last = f"operator '{operator.name}'", len(parts.layers) - 1
    for number, site in enumerate(operator.sites):
        if site.place == "decoder" and site.layer > last:
            yield (
                f"{where}: sites.{number}: layer {site.layer} is beyond the model's last decoder layer ({last}){REMEDY}"
            )
        of = parts.language_model if site.place == "decoder" else parts.tower
        width = of.config.hidden_size if site.probe else 0
        if site.probe and len(site.probe) != width:
            yield f"{where}: sites.{number}: a probe of {len(site.probe)} numbers; the model's tokens have {width}"
        at = site.layer if site.place == "decoder" and site.score.get("previous_text") else 0
        if 0 < at <= last and parts.kind(at - 1) != parts.kind(at):
            yield (
                f"{where}: sites.{number}: 'previous_text' is read in layer {at - 1}, which attends in another way"
                f" than layer {at}, where it is asked for"
            )
    varies = parts.family is not None and parts.family.varies
    own = operator.target.axes[-2:]  # of a film, a frame's
    if own != parts.grid and not varies:  # where sizes vary, an image's share of tokens counts
        made, has = ("x".join(map(str, grid)) for grid in (own, parts.grid))
        yield f"{where} is for a {made} grid of visual tokens; the model has {has}{REMEDY}"
    if operator.target.layers != last + 1:
        yield f"{where} is for {operator.target.layers} decoder layers; the model has {last + 1}{REMEDY}"


def _tower_misfits(parts: Parts, plan: OperatorPlan) -> Iterator[str]:
    """The same for sites in the vision tower."""
    for planned in plan.tower:
        site, at = planned.site, f"sites.{planned.number}"
        if site.layer > parts.used:
            yield (
                f"{at}: layer {site.layer} is beyond the last layer of the vision tower that the model uses"
                f" ({parts.used - 1})"
            )
        there = IN_TOWER if site.layer < parts.used else BEHIND_TOWER
        for name, weight in site.score.items():
            if weight and name not in there:
                yield f"{at}: the vision tower has no feature '{name}'; it has {', '.join(there)}"
        if site.layer == parts.used and site.beta:
            yield f"{at}: no block of the vision tower comes after it, whose attention 'beta' would bias"
