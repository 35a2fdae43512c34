"""What an operator is, as data: where visual tokens are reduced, which stay, and what becomes of the rest.

An operator is an ordered list of sites. At a site before decoder layer ``l`` (0: between projector and language
model) the visual tokens x_1..x_N, with sizes m_i, are

1. selected:    s_i = sum_k w_k z_k(i), the ``keep`` best stay (or a structured rule chooses),
2. transferred: y_j = u_j (x_j + sum_i t_ij x_i) / (1 + sum_i t_ij)^nu with t_ij = gamma P_ij a_i m_i / m_j and
                P_ij = softmax over kept j in the support of cos(x_i, x_j) / tau;   m_j <- m_j (1 + sum_i t_ij),
3. compensated: later attention adds beta log m_j to the logits of key j.

Prune (gamma 0), merge (gamma 1, tau 0), pool (gamma 1, tau inf) and reweight (keep N, rho > 0) are its corners
(Differentiable Efficient Operator Search, arXiv 2606.05232). Operator files are JSON, validated, never code.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from eos_platform.errors import EosError, explain, unknown
from eos_platform.files import read_text, write_atomic

SCHEMA_VERSION: Final = 1
FEATURES = ("last_text", "mean_text", "vision", "norm", "uniqueness")
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
SelectorName = Literal["score", "grid", "alternate", "farthest", "random", "withdraw"]
Regime = Literal["identity", "prune", "merge", "pool", "reweight", "hybrid"]


class Spec(BaseModel):
    """Frozen, validated data; misspelt keys are refused; infinity is written as a JSON string."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=True)


class Support(Spec):
    """Which kept tokens a dropped token may go to.

    ``all``: any. ``window``: those in its own cell when the original grid is cut into ``size`` windows.
    ``nearest``: the ``size`` most similar. A dropped token with no kept token in its support is discarded.
    """

    kind: Literal["all", "window", "nearest"] = "all"
    size: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _size_belongs(self) -> Support:
        if (self.kind == "all") != (self.size is None):
            need = "takes no size" if self.kind == "all" else "needs a size (windows, or neighbours)"
            raise ValueError(f"support '{self.kind}' {need}")
        return self


class Transfer(Spec):
    """What becomes of the information in dropped tokens (step 2)."""

    gamma: Unit = 0.0  # share of it that is kept
    tau: float = Field(default=0.0, ge=0.0)  # 0: all to the most similar kept token; inf: spread evenly
    nu: Unit = 1.0  # 0: added up; 1: averaged
    source: Literal["ones", "importance"] = "ones"  # a_i: 1, or exp(s_i) / mean exp(s)
    support: Support = Support()


class SiteSpec(Spec):
    """One place where tokens are reduced.

    ``score`` holds the weights w_k of the features; it ranks tokens for the selector ``score``, and is the importance
    that ``rho`` and ``source: importance`` speak of whatever the selector.
    """

    layer: int = Field(ge=0, strict=True)  # before this decoder layer; 0: before the language model
    keep: int = Field(ge=0, strict=True)  # tokens that stay
    selector: SelectorName = "score"
    score: dict[str, Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]] = {}
    seed: int = Field(default=0, ge=0, lt=2**32)  # of the selector "random"
    transfer: Transfer = Transfer()
    rho: float = Field(default=0.0, ge=0.0, le=100.0)  # reweighting of kept tokens: u_j = exp(rho s_j) / mean
    beta: Unit = 0.0  # log-size bias of later attention
    positions: Literal["keep", "renumber"] = "keep"

    @field_validator("score")
    @classmethod
    def _known_features(cls, score: dict[str, float]) -> dict[str, float]:
        for name in score:
            if name not in FEATURES:
                raise ValueError(str(unknown("feature", name, FEATURES)))
        return score

    @model_validator(mode="after")
    def _consistent(self) -> SiteSpec:
        if (self.selector == "withdraw") != (self.keep == 0):
            raise ValueError("keep is 0 exactly when the selector is 'withdraw'")
        importance = self.selector == "score" or self.rho > 0 or self.transfer.source == "importance"
        if importance and not any(self.score.values()):
            raise ValueError("'score' must weigh at least one feature here")
        return self

    def is_noop(self, tokens: int) -> bool:
        """Whether this site leaves ``tokens`` incoming tokens exactly as they are."""
        return self.keep == tokens and self.rho == 0.0

    def regime(self, tokens: int) -> Regime:
        """The corner of the operator space this site sits on, given the incoming count; else ``hybrid``."""
        if self.keep == tokens:
            return "reweight" if self.rho > 0 else "identity"
        if self.rho > 0:
            return "hybrid"
        if self.transfer.gamma == 0 or self.keep == 0:
            return "prune"
        if self.transfer.gamma == 1 and self.transfer.tau == 0:
            return "merge"
        if self.transfer.gamma == 1 and math.isinf(self.transfer.tau):
            return "pool"
        return "hybrid"


class Target(Spec):
    """The model an operator's layers and counts refer to."""

    layers: int = Field(ge=1)  # decoder layers
    grid: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]  # rows, columns of visual tokens
    model: str = ""  # a name for people

    @property
    def tokens(self) -> int:
        """Visual tokens of one image."""
        return self.grid[0] * self.grid[1]


class OperatorSpec(Spec):
    """The whole recipe for one model. ``operator.json`` is its JSON form."""

    schema_version: Literal[1] = 1
    name: str = "operator"
    target: Target
    sites: tuple[SiteSpec, ...] = ()
    provenance: dict[str, JsonValue] = {}  # how it was found; free, never read by the platform

    @model_validator(mode="after")
    def _sites_fit(self) -> OperatorSpec:
        tokens, layer = self.target.tokens, 0
        for number, site in enumerate(self.sites):
            at = f"sites.{number}"
            if site.layer >= self.target.layers:
                last = self.target.layers - 1
                raise ValueError(f"{at}: layer {site.layer} is beyond the last decoder layer ({last})")
            if site.layer < layer:
                raise ValueError(f"{at}: layer {site.layer} comes after layer {layer}; sites go in layer order")
            if site.keep > tokens:
                raise ValueError(f"{at}: keep {site.keep} is more than the {tokens} tokens that arrive")
            if site.selector == "alternate" and site.keep < tokens // 2:
                raise ValueError(f"{at}: 'alternate' keeps at least {tokens // 2} of {tokens} tokens; use two sites")
            tokens, layer = site.keep, site.layer
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """Visual tokens entering each decoder layer."""
        counts, tokens = [], self.target.tokens
        for layer in range(self.target.layers):
            tokens = next((s.keep for s in reversed(self.sites) if s.layer == layer), tokens)
            counts.append(tokens)
        return tuple(counts)

    @property
    def mean_tokens(self) -> float:
        """Mean visual tokens entering the decoder layers: what "r tokens" means here."""
        return sum(self.counts) / self.target.layers

    @property
    def tokens_left(self) -> int:
        """Visual tokens after the last site."""
        return self.sites[-1].keep if self.sites else self.target.tokens

    @property
    def incoming(self) -> tuple[int, ...]:
        """Visual tokens arriving at each site."""
        return (self.target.tokens, *(site.keep for site in self.sites[:-1]))[: len(self.sites)]

    @property
    def regimes(self) -> tuple[Regime, ...]:
        """The regime of each site."""
        return tuple(site.regime(n) for site, n in zip(self.sites, self.incoming, strict=True))

    @property
    def regime(self) -> Regime:
        """The regime the sites share (identity without sites, hybrid when they differ)."""
        kinds = set(self.regimes) - {"identity"}
        if not kinds:
            return "identity"
        return kinds.pop() if len(kinds) == 1 else "hybrid"

    def to_json(self) -> str:
        """JSON text; ``from_json`` gives back an equal operator."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "operator") -> OperatorSpec:
        """Parse and validate.

        Raises:
            EosError: not JSON, another schema version, a misspelt key, or a value that cannot be.
        """
        try:
            data: Any = json.loads(text)
            json.dumps(data, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise EosError(f"{where}: not JSON: {error.msg} (line {error.lineno})") from None
        except (ValueError, RecursionError) as error:  # thousands of digits, endless nesting, half a surrogate pair
            raise EosError(f"{where}: not JSON an operator could be: {error}") from None
        if not isinstance(data, dict):
            raise EosError(f"{where}: an operator is a JSON object with 'target' and 'sites'")
        version = data.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise EosError(f"{where}: schema version {version} is not the {SCHEMA_VERSION} read here")
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
        return cls.from_json(read_text(path, "operator file"), str(path))


_KEYS = {
    "": OperatorSpec.model_fields,
    "target": Target.model_fields,
    "sites.*": SiteSpec.model_fields,
    "sites.*.transfer": Transfer.model_fields,
    "sites.*.transfer.support": Support.model_fields,
}
