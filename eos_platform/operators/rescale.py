"""An operator searched on one model, made to fit another: of other depth, other image size, or other width.

Layers keep their relative depth, counts their share of the visual tokens. What cannot travel is said: a learned
direction (``probe``) lives in one model's hidden space, and no other's; what is read in a vision tower, not every model
gives.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from eos_platform.common.errors import EosError, expected
from eos_platform.operators.grid import overlap_layout
from eos_platform.operators.site import SCORED, SiteSpec

if TYPE_CHECKING:
    from eos_platform.operators.spec import OperatorSpec, Target

Grid = tuple[int, int]


@dataclass(frozen=True)
class Rescaled:
    """An operator for another model, and in words what was changed to make it so.

    Attributes:
        operator: the one that fits.
        changes: one line each; none where it fitted as it was.
    """

    operator: OperatorSpec
    changes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.changes) or "nothing had to be changed"


def rescale(
    operator: OperatorSpec,
    target: Target,
    *,
    probes: bool = False,
    positions: bool = True,
    absent: Collection[str] = (),
) -> Rescaled:
    """``operator`` made to fit ``target``.

    Args:
        operator: searched on another model (or on this one, for pictures of another size).
        target: the model it is to fit; ``eos_platform.target_of`` gives a model's own.
        probes: learned directions stay (the hidden space is the same: same model, other pictures).
        positions: whether the model can renumber positions; if not, they are kept.
        absent: features (and ``keys``) that the model does not give. They are left out of a score; one made of nothing
            else takes what is nearest to them.

    Raises:
        EosError: a site would lose all that it ranks by, or has no place in the other model.
    """
    from eos_platform.operators import spec

    if not isinstance(operator, spec.OperatorSpec):
        raise expected("operator", "an operator (eos.OperatorSpec.load reads its file)", operator)
    if not isinstance(target, spec.Target):
        raise expected("target", "what eos.target_of(model) gives", target)
    old, changes = operator.target, list[str]()
    same = all(getattr(old, name) == getattr(target, name) for name in ("layers", "grid", "frames", "vision_layers"))
    if same and probes and not absent:
        return Rescaled(operator, ())
    image = operator.image and _shrunk(operator.image, old.grid, target.grid)
    tokens = image[0] * image[1] if image else target.tokens
    sites: list[SiteSpec] = []
    for number, site in enumerate(operator.sites):
        at = f"sites.{number}"
        if site.prior is not None:
            site = site.model_copy(update={"prior": site.prior.resampled(old.grid, target.grid)})
        site, dropped = _given(site, absent)
        changes += [f"{at}: {one}" for one in dropped]
        layer = _layer(site, old, target, at)
        if sites and sites[-1].place == site.place:
            layer = max(layer, sites[-1].layer)
        fields = _counts(site, (old.tokens, target.tokens), target.grid, tokens, operator.incoming[number])
        if fields["keep"] == 0 and site.keep:
            raise EosError(f"operator '{operator.name}': {at}: {site.keep} tokens of {old.tokens} leave none here")
        if site.probe and not probes:
            fields |= _without_probe(site, f"operator '{operator.name}': {at}")
            changes.append(
                f"{at}: its learned direction ({len(site.probe)} numbers) cannot be transferred, and was left out"
            )
        if site.positions == "renumber" and not positions:
            fields["positions"] = "keep"
            changes.append(f"{at}: positions are kept, as 3-D positions cannot be renumbered")
        fields |= {"score": site.score, "similarity": site.similarity}
        fields |= {"prior": site.prior, "exclude_padding": site.exclude_padding}
        made = SiteSpec.model_validate({**site.model_dump(), **fields, "layer": layer})
        if made.layer != site.layer:
            changes.append(f"{at}: {site.place} layer {site.layer} -> {made.layer}")
        if made.keep != site.keep:
            changes.append(f"{at}: keeps {site.keep} of {old.tokens} -> {made.keep} of {target.tokens}")
        sites.append(made)
        tokens = made.keep
    if image != operator.image:
        changes.append(f"image: {operator.image} -> {image}")
    provenance = dict(operator.provenance)
    if changes:
        provenance["rescaled_from"] = {"target": old.model_dump(mode="json"), "changes": list(changes)}
    made_for = target.model_copy(update={"model": target.model or old.model})
    data = {**operator.model_dump(), "target": made_for, "image": image, "sites": tuple(sites)}
    return Rescaled(type(operator).model_validate({**data, "provenance": provenance}), tuple(changes))


def sites_for(operator: OperatorSpec, grid: Grid) -> tuple[SiteSpec, ...]:
    """The operator's decoder sites for a picture of another size: the same layers, the same shares of its tokens."""
    if grid == operator.target.grid:
        return operator.decoder_sites
    target = operator.target.of_grid(grid)
    return rescale(operator, target, probes=True).operator.decoder_sites


def _given(site: SiteSpec, absent: Collection[str]) -> tuple[SiteSpec, list[str]]:
    """A site of the decoder without what the model does not give, and what was changed."""
    if site.place == "tower":  # where the model is not reached into, it has no such site
        return site, []
    changes = list[str]()
    score = {name: weight for name, weight in site.score.items() if name not in absent}
    gone = {name: weight for name, weight in site.score.items() if name in absent and weight}
    if gone:
        names = " and ".join(f"'{name}' ({weight:g})" for name, weight in gone.items())
        changes.append(f"its score is without {names}, which the model does not give")
    if gone and not any(score.values()):
        # the class token looks at what stands out. In the decoder the last token of the text, which sums up as it does,
        # does the same; before it, tokens that stand out have large norms
        instead = "last_text" if site.layer else "norm"
        score[instead] = sum(gone.values()) or next(iter(gone.values()))
        changes.append(f"it had no other feature, and uses '{instead}' instead")
    similarity = site.similarity
    if similarity == "keys" and "keys" in absent:
        similarity = "hidden"
        changes.append("tokens are compared by themselves, as the model does not give the keys of its vision tower")
    prior = site.prior if site.prior is None or site.prior.feature in score else None
    excluding = site.exclude_padding and "padding" not in absent
    if excluding != site.exclude_padding:
        changes.append("no token is passed over as one of a margin, which the model does not give")
    changed = {"score": score, "similarity": similarity, "prior": prior, "exclude_padding": excluding}
    return site.model_copy(update=changed), changes


def _layer(site: SiteSpec, old: Target, target: Target, at: str) -> int:
    before, after = (
        (old.layers, target.layers) if site.place == "decoder" else (old.vision_layers, target.vision_layers)
    )
    if before == after or site.layer == 0:
        return site.layer
    if not (before and after):
        raise EosError(f"{at}: how deep a site of the vision tower stands is not known for both models")
    # a site inside stays inside: never layer 0, which is before the language model
    return min(max(1, round(site.layer / before * after)), after - 1)


def scaled(operator: OperatorSpec, factor: Fraction) -> OperatorSpec:
    """The same sites with ``factor`` times as many tokens left after each, as far as there are so many.

    Counts of 0 stay 0 and every other at least 1; a site that kept all that arrived keeps all.

    Raises:
        EosError: the operator acts in the vision tower, where counts are the model's own.
    """
    if operator.image or operator.tower_sites:
        raise EosError(f"operator '{operator.name}' acts in the vision tower; its counts are not scaled")
    sites: list[SiteSpec] = []
    arriving = operator.arriving
    for site, came in zip(operator.sites, operator.incoming, strict=True):
        fields = _counts(site, (factor.denominator, factor.numerator), operator.target.grid, arriving, came)
        fields |= {"score": site.score, "similarity": site.similarity, "quota": site.quota}
        sites.append(SiteSpec.model_validate({**site.model_dump(), **fields}))
        arriving = sites[-1].keep
    return type(operator).model_validate({**operator.model_dump(), "sites": tuple(sites)})


def _counts(site: SiteSpec, scale: tuple[int, int], grid: Grid, tokens: int, arriving: int) -> dict[str, Any]:
    """Counts of a site, ``scale[1] / scale[0]`` times what they were, within the ``tokens`` that arrive."""
    before, after = scale

    def share(count: int, least: int = 1) -> int:
        return max(least, (2 * count * after + before) // (2 * before))  # half up, in whole numbers

    least = 2 if site.summary else 1
    keep = 0 if site.keep == 0 else tokens if site.keep == arriving else min(share(site.keep, least), tokens)
    important = min(share(site.important), keep - site.summary) if site.important else 0
    if site.selector == "alternate" and 0 < keep < tokens:
        keep = max(keep, (tokens - important) // 2 + important + site.summary)  # it cannot do with fewer
    transfer = site.transfer.model_dump()
    support = transfer["support"]
    if support["kind"] == "overlap":
        keep = support["size"] = _pooled(grid, keep)
    elif support["kind"] == "window":
        support["size"] = min(share(support["size"]), grid[0] * grid[1])
    fields = {"keep": keep, "important": important, "transfer": transfer}
    if site.quota is not None:
        groups = None if site.quota.groups is None else min(share(site.quota.groups), grid[0] * grid[1])
        fields["quota"] = site.quota.model_copy(update={"groups": groups}).model_dump()
    return fields


def _pooled(grid: Grid, keep: int) -> int:
    """The number of windows nearest to ``keep`` that pooling can make of a grid; of two as near the lower."""

    def possible(size: int) -> bool:
        try:
            overlap_layout(grid, size)
        except EosError:
            return False
        return True

    nearest = sorted(range(1, grid[0] * grid[1] + 1), key=lambda size: (abs(size - keep), size))
    return next(size for size in nearest if possible(size))  # one window there always can be


def _shrunk(image: Grid, old: Grid, new: Grid) -> Grid:
    rows, columns = (max(1, round(side * after / before)) for side, before, after in zip(image, old, new, strict=True))
    return rows, columns


def _without_probe(site: SiteSpec, where: str) -> dict[str, Any]:
    if any(site.score.values()) or not site.ranks:
        return {"probe": (), "steering": None}
    if site.selector in SCORED:
        raise EosError(
            f"{where}: ranks by a learned direction alone, which belongs to one model's hidden space and cannot be"
            " transferred to another; search again there, or give the site a score of features"
        )
    raise EosError(
        f"{where}: weights tokens by a learned direction alone, which cannot be transferred to another model"
    )
