"""What an operator is, as data: where visual tokens are reduced, which stay, and where the others go.

An operator is an ordered list of sites (``site.py``), in the vision tower or the decoder. At a site before decoder
layer ``l`` (0: between projector and language model) the visual tokens x_1..x_N, with sizes m_i, are

1. selected:    s_i = sum_k w_k z_k(i) + probe . x_i / |x_i|, brought to unit spread; the question may steer the probe
                (``steering.py``). The ``keep`` best stay (selector ``score``), or those that score well and are unlike
                each other (``diverse_topk``), or a rule chooses;
2. transferred: y_j = u_j (x_j + R_j) / (1 + S_j)^nu with R_j = sum_i t_ij x_i / S_j^mu, S_j = sum_i t_ij,
                t_ij = gamma P_ij a_i m_i / m_j and P_ij = softmax over kept j in the support of cos(x_i, x_j) / tau;
                m_j <- m_j (1 + S_j);
3. compensated: later attention adds beta log m_j to the logits of key j.

Prune (gamma 0), merge (gamma 1, tau 0), pool (gamma 1, tau inf) and reweight (keep N, rho > 0) are its corners
(Differentiable Efficient Operator Search, arXiv 2606.05232). Operator files are JSON, validated, never code.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, ValidationError, model_serializer, model_validator

from eos_platform.common import former_names, strict_json
from eos_platform.common.errors import EosError, expected, explain, shown
from eos_platform.common.files import MEGABYTE, read_text, shown_path, write_atomic
from eos_platform.common.printable import check_label, printable
from eos_platform.common.strict_types import Int
from eos_platform.operators.grid import Grid, overlap_layout
from eos_platform.operators.prior import Prior
from eos_platform.operators.rules import Coverage, Quota, Segments, Suppression
from eos_platform.operators.site import (
    ALL_FEATURES,
    FEATURES,
    SEARCHED,
    Regime,
    SelectorName,
    SiteSpec,
    Spec,
    Support,
    Transfer,
)
from eos_platform.operators.steering import Steering

__all__ = [
    "ALL_FEATURES",
    "FEATURES",
    "SEARCHED",
    "Coverage",
    "OperatorSpec",
    "Prior",
    "Quota",
    "Regime",
    "Segments",
    "SelectorName",
    "SiteSpec",
    "Spec",
    "Steering",
    "Support",
    "Suppression",
    "Target",
    "Transfer",
]

SCHEMA_VERSION: Final = 2  # 1 had other names for some selectors (``common/former_names.py``)
LINES: Final = 12  # of an operator's repr
INFINITE: Final = r"sites\.\d+\.transfer\.tau"  # written bare by earlier versions; a string now
Label = Annotated[str, AfterValidator(check_label)]
MOST: Final = 10_000  # layers, and tokens a side: what counts them must come to an end
Side = Annotated[Int, Field(ge=1, le=MOST)]


class Target(Spec):
    """The model an operator's layers and counts refer to."""

    layers: Int = Field(ge=1, le=MOST)  # decoder layers
    grid: tuple[Side, Side]  # rows, columns of visual tokens
    model: Label = ""  # a name for people
    vision_layers: Int = Field(default=0, ge=0, le=MOST)  # blocks of the vision tower whose output is used; 0: unknown
    frames: Int = Field(default=1, ge=1, le=MOST)  # of a film, whose frames' rows the grid counts one below another

    @model_validator(mode="after")
    def _rows_divide(self) -> Target:
        if self.grid[0] % self.frames:
            raise ValueError(f"frames: {self.grid[0]} rows are not those of {self.frames} equal frames")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, write: Any) -> dict[str, Any]:
        """Without frames where there is one, as operators of earlier versions are."""
        data: dict[str, Any] = write(self)
        return {name: value for name, value in data.items() if name != "frames" or value != 1}

    @property
    def tokens(self) -> int:
        """Visual tokens of one image."""
        return self.grid[0] * self.grid[1]

    @property
    def axes(self) -> Grid:
        """Rows and columns, of a film frames before these."""
        rows, columns = self.grid
        return (rows, columns) if self.frames == 1 else (self.frames, rows // self.frames, columns)

    def of_grid(self, axes: Grid) -> Target:
        """The same model with pictures of another grid, or films."""
        frames, rows, columns = axes if len(axes) == 3 else (1, *axes)
        return self.model_copy(update={"grid": (frames * rows, columns), "frames": frames})


class OperatorSpec(Spec):
    """The whole recipe for one model. ``operator.json`` is its JSON form."""

    schema_version: Literal[2] = 2
    name: Label = "operator"
    target: Target
    # pictures are shrunk until the vision tower makes this grid of tokens of them
    image: tuple[Annotated[Int, Field(ge=1)], Annotated[Int, Field(ge=1)]] | None = None
    sites: tuple[SiteSpec, ...] = ()
    provenance: dict[str, JsonValue] = Field(default_factory=dict)  # how it was found; free, never read by the platform

    @model_validator(mode="before")
    @classmethod
    def _of_any_version(cls, data: Any) -> Any:
        """Under today's names; what a file says beside the exact numbers follows from them, and is written anew."""
        if not isinstance(data, dict):
            return data
        data = {key: value for key, value in data.items() if key != "relative"}
        if data.get("schema_version") == 1 and type(data["schema_version"]) is int:
            data["schema_version"] = SCHEMA_VERSION
        return _provenance_of(data, former_names.SEARCH.latest)

    @model_validator(mode="after")
    def _image_fits(self) -> OperatorSpec:
        grid = self.target.grid
        if self.image and (self.image[0] > grid[0] or self.image[1] > grid[1]):
            raise ValueError(f"image: {self.image[0]}x{self.image[1]} tokens do not shrink {grid[0]}x{grid[1]}")
        return self

    @model_validator(mode="after")
    def _sites_fit(self) -> OperatorSpec:
        tokens, before = self.arriving, ("tower", 0)
        for number, site in enumerate(self.sites):
            at = f"sites.{number}"
            if site.place == "decoder" and site.layer >= self.target.layers:
                last = self.target.layers - 1
                raise ValueError(f"{at}: layer {site.layer} is beyond the last decoder layer ({last})")
            if (site.place, before[0]) == ("tower", "decoder"):
                raise ValueError(f"{at}: sites of the vision tower come before those of the decoder")
            if site.place == before[0] and site.layer < before[1]:
                raise ValueError(f"{at}: layer {site.layer} comes after layer {before[1]}; sites go in layer order")
            if site.place == "tower" and site.positions == "renumber":
                raise ValueError(f"{at}: positions are renumbered in the decoder only")
            if site.place == "decoder" and site.scope != self.scope:
                raise ValueError(
                    f"{at}: scope '{site.scope}' beside '{self.scope}': all sites of an operator reduce frames one by"
                    " one, or all reduce films as a whole"
                )
            if site.keep > tokens:
                raise ValueError(f"{at}: keep {site.keep} is more than the {tokens} tokens that arrive")
            picks, rest = site.keep - site.summary - site.important, tokens - site.important
            if site.selector == "alternate" and site.keep < tokens and picks < rest // 2:
                raise ValueError(f"{at}: 'alternate' keeps at least {rest // 2} of {rest} tokens; use two sites")
            if site.prior is not None and len(site.prior.numbers) != self.target.tokens:
                raise ValueError(
                    f"{at}: a prior of {len(site.prior.numbers)} numbers for {self.target.tokens} places of the grid"
                )
            if site.segments is not None and tokens != self.target.tokens:
                raise ValueError(
                    f"{at}: selector 'segments' needs all {self.target.tokens} tokens of the film, not {tokens}"
                )
            if site.transfer.support.kind == "overlap":
                _overlap_fits(site, at, tokens, self.target)
            tokens, before = site.keep, (site.place, site.layer)
        return self

    @property
    def arriving(self) -> int:
        """Visual tokens before the first site."""
        return self.image[0] * self.image[1] if self.image else self.target.tokens

    @property
    def tower_sites(self) -> tuple[SiteSpec, ...]:
        """The sites inside the vision tower."""
        return tuple(site for site in self.sites if site.place == "tower")

    @property
    def decoder_sites(self) -> tuple[SiteSpec, ...]:
        """The sites before decoder layers."""
        return tuple(site for site in self.sites if site.place == "decoder")

    @property
    def scope(self) -> Literal["frame", "film"]:
        """What the sites before decoder layers reduce together."""
        return next((site.scope for site in self.decoder_sites), "frame")

    @property
    def sees_less(self) -> bool:
        """Whether fewer visual tokens leave the vision tower: the picture is shrunk, or the tower has sites."""
        return self.entering != self.target.tokens

    @property
    def entering(self) -> int:
        """Visual tokens that come out of the vision tower."""
        return next((site.keep for site in reversed(self.tower_sites)), self.arriving)

    @property
    def counts(self) -> tuple[int, ...]:
        """Visual tokens entering each decoder layer."""
        counts, tokens = [], self.entering
        for layer in range(self.target.layers):
            tokens = next((s.keep for s in reversed(self.decoder_sites) if s.layer == layer), tokens)
            counts.append(tokens)
        return tuple(counts)

    @property
    def mean_tokens(self) -> float:
        """Mean visual tokens entering the decoder layers: what "r tokens" means here."""
        return sum(self.counts) / self.target.layers

    @property
    def tokens_left(self) -> int:
        """Visual tokens after the last site."""
        return self.sites[-1].keep if self.sites else self.arriving

    @property
    def incoming(self) -> tuple[int, ...]:
        """Visual tokens arriving at each site."""
        return (self.arriving, *(site.keep for site in self.sites[:-1]))[: len(self.sites)]

    @property
    def regimes(self) -> tuple[Regime, ...]:
        """The regime of each site."""
        return tuple(site.regime(n) for site, n in zip(self.sites, self.incoming, strict=True))

    @property
    def regime(self) -> Regime:
        """The regime the sites share (identity without sites, hybrid when they differ); a shrunk picture is pooled."""
        kinds = set(self.regimes) - {"identity"}
        if self.arriving < self.target.tokens:
            kinds.add("pool")
        if not kinds:
            return "identity"
        return kinds.pop() if len(kinds) == 1 else "hybrid"

    @property
    def relative(self) -> list[dict[str, Any]]:
        """Where each site stands and what it keeps, as fractions: of the layers of its place, of the visual tokens.

        The depth of a tower site is ``None`` where the operator does not know how many blocks the tower has.
        """
        depths = {"decoder": self.target.layers, "tower": self.target.vision_layers}
        return [
            {
                "place": site.place,
                "depth": site.layer / depths[site.place] if depths[site.place] else None,
                "keep": site.keep / self.target.tokens,
            }
            for site in self.sites
        ]

    def __repr__(self) -> str:
        """A line, and one more for each site: learned directions are thousands of numbers."""
        counted = f"{self.target.tokens} -> {self.tokens_left} visual tokens, {self.mean_tokens:.1f} a layer on average"
        lines = [f"operator {printable(self.name)!r}: {self.regime}, {counted}"]
        if self.image:
            lines.append(f"  pictures shrunk to {self.arriving} tokens")
        for site, arriving in zip(self.sites, self.incoming, strict=True):
            where = "tower layer" if site.place == "tower" else "layer"
            lines.append(
                f"  before {where} {site.layer}: {arriving} -> {site.keep}, {site.regime(arriving)}, {site.selector}"
                + (", whole films" if site.scope == "film" else "")
            )
        return "\n".join(lines[:LINES] + [f"  and {len(lines) - LINES} more sites"] * (len(lines) > LINES))

    __str__ = __repr__

    def to_json(self) -> str:
        """JSON text; ``from_json`` gives back an equal operator. Relative depths and shares stand beside, to read."""
        data = self.model_dump(mode="json")
        for site in data["sites"]:
            if math.isinf(site["transfer"]["tau"]):
                site["transfer"]["tau"] = "Infinity"
        return strict_json.dumps({**data, "relative": self.relative}, indent=2, ascii_only=False) + "\n"

    @property
    def fingerprint(self) -> str:
        """Eight digits that tell operators apart: a digest of the file as schema version 1 had it, so that what was
        stored under it is found again."""
        data = strict_json.loads(self.to_json(), "operator")
        data["schema_version"] = 1
        data["sites"] = [former_names.SITE.former(site) for site in data["sites"]]
        data = _provenance_of(data, former_names.SEARCH.former)
        text = strict_json.dumps(data, indent=2, ascii_only=False) + "\n"
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @classmethod
    def from_json(cls, text: str, where: str = "operator") -> OperatorSpec:
        """Parse and validate.

        Raises:
            EosError: not JSON, another schema version, a misspelt key, or a value that cannot be.
        """
        if not isinstance(text, str):
            raise expected(where, "JSON text", text)
        data: Any = strict_json.loads(text, where, infinity=INFINITE)
        return cls.of(data, where)

    @classmethod
    def of(cls, data: Any, where: str = "operator") -> OperatorSpec:
        """Validate plain data, as JSON gives it.

        Raises:
            EosError: another schema version, a misspelt key, or a value that cannot be.
        """
        if not isinstance(data, dict):
            raise EosError(f"{where}: an operator is a JSON object with 'target' and 'sites'")
        version = data.get("schema_version", SCHEMA_VERSION)
        if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
            raise EosError(f"{where}: schema version {shown(version)} is not one of 1 to {SCHEMA_VERSION}, read here")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explain(error, where, _KEYS) from None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the operator file (atomically)."""
        return write_atomic(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OperatorSpec:
        """Read an operator file.

        Raises:
            EosError: missing, unreadable, or not a valid operator.
        """
        return cls.from_json(read_text(path, "operator file", 64 * MEGABYTE), shown_path(path))


def _provenance_of(data: dict[str, Any], rename: Callable[[Any], Any]) -> dict[str, Any]:
    """The settings of the search that found it under other names."""
    provenance = data.get("provenance")
    if not isinstance(provenance, dict) or not isinstance(provenance.get("search"), dict):
        return data
    return {**data, "provenance": {**provenance, "search": rename(provenance["search"])}}


def _overlap_fits(site: SiteSpec, at: str, tokens: int, target: Target) -> None:
    if tokens != target.tokens:
        raise ValueError(f"{at}: support 'overlap' needs all {target.tokens} tokens of the grid, not {tokens}")
    try:
        overlap_layout(target.grid, site.keep)
    except EosError as error:
        raise ValueError(f"{at}: {error}") from None


_KEYS = {
    "": OperatorSpec.model_fields,
    "target": Target.model_fields,
    "sites.*": SiteSpec.model_fields,
    "sites.*.coverage": Coverage.model_fields,
    "sites.*.prior": Prior.model_fields,
    "sites.*.quota": Quota.model_fields,
    "sites.*.segments": Segments.model_fields,
    "sites.*.steering": Steering.model_fields,
    "sites.*.suppress": Suppression.model_fields,
    "sites.*.transfer": Transfer.model_fields,
    "sites.*.transfer.support": Support.model_fields,
}
