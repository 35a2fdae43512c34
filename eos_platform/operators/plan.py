"""An operator compiled for what comes after: what arrives at each site and is read there, what is left at each layer,
and what the whole needs of a model and of its prompts.

It is made once, when an operator is attached (or priced, or checked), and knows no model. Hooks install what it lists,
costs add up what it counts, a model refuses what it needs and does not find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from eos_platform.operators.grid import Grid
from eos_platform.operators.reduce import needed
from eos_platform.operators.rescale import rescale
from eos_platform.operators.spec import OperatorSpec, SiteSpec

# read inside the vision tower, for sites in the decoder
TOWER_FEATURES = ("vision", "next_vision", "keys", "received", "flow", "padding")
RECEIVED = "received"  # the one of them that is read of other towers too
RATED = ("raters", "corrected")  # need to know which text tokens rate visual ones
EARLIER = ("variation", "previous_text")  # of tokens as they entered the layer before
OPENING = (*RATED, "relevance", "question")  # rest on what enters the language model
# change with the text of the prompt
FROM_TEXT = ("last_text", "previous_text", "mean_text", "weighed_text", "text_pivots", "text_rows", *OPENING)
# projections of the decoder layer
FROM_LAYER = ("last_text", "previous_text", "mean_text", "weighed_text", "key_norm", "text_pivots", *RATED)


class Need(StrEnum):
    """What an operator needs that not every model, or not every prompt, gives."""

    TOWER_FEATURES = "features of the vision tower"
    RECEIVED = "attention that patches receive in the vision tower"
    TOWER_SITES = "sites in the vision tower"
    SMALLER_IMAGE = "a shrunk picture"
    FEWER_FROM_TOWER = "fewer visual tokens out of the vision tower"
    RENUMBERING = "positions of one axis, which can be renumbered"
    SIZE_BIAS = "a bias on the keys of attention"
    TOWER_SIZE_BIAS = "a bias on the keys of attention in the vision tower"
    LAYER_WEIGHTS = "weights of a decoder layer before it is called"
    PROMPT_TEXT = "the text of the prompt"
    ONE_IMAGE = "one image a prompt, of the usual size"
    NO_LATER_IMAGE = "no image in a later turn or piece of a prompt, which would be kept whole"


@dataclass(frozen=True)
class Restriction:
    """One need of an operator.

    Attributes:
        need: what is needed.
        site: number of the site that needs it; None: the operator as a whole.
        what: the field, or the features, that it comes of.
    """

    need: Need
    site: int | None
    what: str


@dataclass(frozen=True)
class PlannedSite:
    """A site, and what is known of it before anything runs.

    Attributes:
        site: what it does.
        number: among the operator's sites.
        order: among the sites of its place.
        incoming: visual tokens that arrive, of each image.
        features: what is read there: features by name, ``keys``, ``text_pivots``, ``question``.
        active: whether it, or a site of its place before it, may change anything. Others are never installed.
    """

    site: SiteSpec
    number: int
    order: int
    incoming: int
    features: tuple[str, ...]
    active: bool


@dataclass(frozen=True, eq=False)
class OperatorPlan:
    """An operator, compiled.

    Attributes:
        operator: as it was given.
        tower: its sites in the vision tower.
        decoder: its sites before decoder layers.
        features: what the sites in the decoder read, sorted.
        tokens: visual tokens of an image.
        arriving: visual tokens before the first site.
        entering: visual tokens that come out of the vision tower.
        counts: visual tokens entering each decoder layer.
        restrictions: what it needs, site by site.
    """

    operator: OperatorSpec
    tower: tuple[PlannedSite, ...]
    decoder: tuple[PlannedSite, ...]
    features: tuple[str, ...]
    tokens: int
    arriving: int
    entering: int
    counts: tuple[int, ...]
    restrictions: tuple[Restriction, ...]
    _by_grid: dict[Grid, OperatorPlan] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, operator: OperatorSpec) -> OperatorPlan:
        """Compile an operator."""
        tower, decoder = (_planned(operator, place) for place in ("tower", "decoder"))
        features = tuple(sorted({name for planned in decoder for name in planned.features}))
        restrictions = tuple(_restrictions(operator, tower, decoder, features))
        arriving, entering, counts = operator.arriving, operator.entering, operator.counts
        return cls(operator, tower, decoder, features, operator.target.tokens, arriving, entering, counts, restrictions)

    @cached_property
    def needs(self) -> frozenset[Need]:
        """All that restricts it."""
        return frozenset(restriction.need for restriction in self.restrictions)

    @cached_property
    def tower_features(self) -> frozenset[str]:
        """What the sites in the decoder read in the vision tower."""
        return frozenset(self.features) & frozenset(TOWER_FEATURES)

    @cached_property
    def by_layer(self) -> Mapping[int, tuple[PlannedSite, ...]]:
        """The active sites in the decoder, by the layer they stand before."""
        return _by_layer(self.decoder)

    @cached_property
    def tower_by_layer(self) -> Mapping[int, tuple[PlannedSite, ...]]:
        """The active sites in the vision tower, by block."""
        return _by_layer(self.tower)

    @cached_property
    def biased(self) -> tuple[int, ...]:
        """Decoder layers before which sizes of tokens become a bias of attention."""
        return tuple(layer for layer, sites in self.by_layer.items() if any(planned.site.beta > 0 for planned in sites))

    @cached_property
    def reads_earlier(self) -> frozenset[int]:
        """Layers before which a site looks at tokens as they were a layer earlier."""
        return frozenset(
            planned.site.layer
            for planned in self.decoder
            if set(EARLIER) & set(planned.features) and planned.site.layer > 0
        )

    @property
    def sees_less(self) -> bool:
        """Whether fewer visual tokens leave the vision tower."""
        return self.entering != self.tokens

    @property
    def acts_in_tower(self) -> bool:
        """Whether other visual tokens leave the vision tower than without the operator."""
        return self.sees_less or bool(self.tower_by_layer)

    @property
    def enters_tower(self) -> bool:
        """Whether anything is read or done in the vision tower."""
        return bool(self.tower_features) or self.acts_in_tower

    @property
    def first_layer(self) -> int | None:
        """The decoder layer from which tokens differ from the unreduced model's; None: they never do."""
        if self.sees_less:
            return 0
        return min(self.by_layer, default=None)

    def of_grid(self, grid: Grid) -> OperatorPlan:
        """The same for images of another grid, or films (frames, rows, columns), of which it keeps the same shares.

        It is made once for each.
        """
        target = self.operator.target
        if grid == target.axes:
            return self
        if grid not in self._by_grid:
            fitted = rescale(self.operator, target.of_grid(grid), probes=True).operator
            self._by_grid[grid] = OperatorPlan.of(fitted)
        return self._by_grid[grid]

    def lengths(self, text_tokens: int, images: int = 1) -> tuple[int, ...]:
        """Tokens entering each decoder layer, which are also the positions its key-value cache holds.

        Args:
            text_tokens: tokens of a prompt that are not visual.
            images: so many of the usual size in it, each reduced by itself.
        """
        return tuple(images * count + text_tokens for count in self.counts)

    def kv_positions(self, text_tokens: int, images: int = 1) -> int:
        """Positions that all layers' caches hold together after the prefill of a prompt."""
        return sum(self.lengths(text_tokens, images))


def _planned(operator: OperatorSpec, place: str) -> tuple[PlannedSite, ...]:
    arriving = operator.arriving if place == "tower" else operator.entering
    # of tokens that already stand for several, or with gaps between, even a site that keeps all may say something new
    active = arriving != operator.target.tokens
    planned_sites: list[PlannedSite] = []
    for number, (site, incoming) in enumerate(zip(operator.sites, operator.incoming, strict=True)):
        if site.place == place:
            idle = site.is_noop(incoming)
            active = active or not idle
            features = () if idle else needed(site, incoming)
            planned_sites.append(PlannedSite(site, number, len(planned_sites), incoming, features, active))
    return tuple(planned_sites)


def _by_layer(sites: tuple[PlannedSite, ...]) -> Mapping[int, tuple[PlannedSite, ...]]:
    by_layer: dict[int, tuple[PlannedSite, ...]] = {}
    for planned in sites:
        if planned.active:
            by_layer[planned.site.layer] = (*by_layer.get(planned.site.layer, ()), planned)
    return by_layer


def _restrictions(
    operator: OperatorSpec, tower: tuple[PlannedSite, ...], decoder: tuple[PlannedSite, ...], features: tuple[str, ...]
) -> Iterator[Restriction]:
    """The whole operator's, then site by site."""
    if operator.arriving < operator.target.tokens:
        yield Restriction(Need.SMALLER_IMAGE, None, "image")
    if operator.sees_less:
        for need in (Need.FEWER_FROM_TOWER, Need.ONE_IMAGE):
            yield Restriction(need, None, f"{operator.entering} of {operator.target.tokens} visual tokens")
    if operator.sees_less or tower:
        yield Restriction(Need.NO_LATER_IMAGE, None, "what is done in the vision tower")
    for planned in (*tower, *decoder):
        site, number = planned.site, planned.number
        in_tower = site.place == "tower"
        if in_tower:
            yield Restriction(Need.TOWER_SITES, number, f"layer {site.layer}")
        if site.positions == "renumber":
            yield Restriction(Need.RENUMBERING, number, "positions")
        if site.beta:
            yield Restriction(Need.TOWER_SIZE_BIAS if in_tower else Need.SIZE_BIAS, number, f"beta {site.beta:g}")
        if in_tower:
            continue
        for need, names in (
            (Need.TOWER_FEATURES, tuple(name for name in TOWER_FEATURES if name != RECEIVED)),
            (Need.RECEIVED, (RECEIVED,)),
            (Need.LAYER_WEIGHTS, FROM_LAYER),
            (Need.PROMPT_TEXT, FROM_TEXT),
        ):
            read = sorted(set(planned.features) & set(names))
            if read:
                yield Restriction(need, number, ", ".join(read))
