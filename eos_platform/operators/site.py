"""One place where tokens are reduced, as data: which stay, where the others go (formulas: ``spec.py``).

Beyond the corners a search moves among, a few axes exist so that published methods are points of the same space:
``important``, ``quota`` and the structured selectors (which tokens stay), ``mixing``, ``weighing`` and ``similarity``
(what a score is and what it is weighed against), ``to``, ``among``, ``by``, ``mu`` and ``metric`` (who
gives to whom, and how it is averaged), ``summary`` (a token made of all that go), ``place`` (inside the vision tower).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from eos_platform.common import former_names
from eos_platform.common.errors import unknown
from eos_platform.common.strict_types import Bool, Int, MaybeInfinite, Real
from eos_platform.operators.prior import Prior
from eos_platform.operators.rules import Coverage, Quota, Segments, Spec, Suppression
from eos_platform.operators.steering import Steering

FEATURES = ("last_text", "mean_text", "vision", "norm", "uniqueness")  # what a search mixes
DESIGN_FEATURES = (
    "raters",
    "corrected",
    "next_vision",
    "relevance",
    "key_norm",
    "variation",
    "received",
    "previous_text",
    "weighed_text",
    "flow",
)  # what some published methods add
FILM_FEATURES = ("change", "paired_change", "film_uniqueness", "film_distance")  # look across the frames of a film
SEARCHED = (*FEATURES, "change", "film_uniqueness")  # what a search mixes at sites of films
ALL_FEATURES = FEATURES + DESIGN_FEATURES + FILM_FEATURES
Unit = Annotated[Real, Field(ge=0.0, le=1.0)]
SelectorName = Literal[
    "score", "diverse_topk", "grid", "alternate", "farthest", "random", "drop_all",
    "spaced", "bipartite", "density", "pivots", "dpp", "coverage", "suppress", "max_sum", "segments",
]  # fmt: skip
Regime = Literal["identity", "prune", "merge", "pool", "reweight", "hybrid"]
SCORED = ("score", "diverse_topk", "bipartite", "pivots", "dpp", "suppress", "max_sum")  # selectors that read the score
WEIGHING = ("diverse_topk", "coverage")  # selectors that weigh it against how unlike tokens are
# selectors that can pass tokens over
EXCLUDING = ("score", "diverse_topk", "coverage", "suppress", "farthest", "random")
# fields that joined a site after files had been written and digested: left out where they say nothing, so that those
# files, and operators that earlier versions can read, stay as they are
LATER = {
    "protect": 0.0, "metric": None, "mixing": "sum", "weighing": "sum", "coverage": None, "quota": None,
    "suppress": None, "prior": None, "exclude_padding": False, "scope": "frame", "segments": None,
}  # fmt: skip


class Support(Spec):
    """Which tokens may give to which.

    ``all``: any. ``window``: those in the same cell when the original grid is cut into ``size`` windows (a film: into
    blocks). ``nearest``: the ``size`` most similar. ``overlap``: the windows of adaptive pooling to ``size`` outputs,
    which may overlap. ``tube``: of a film, the latest kept token at the same place of an earlier frame.
    A dropped token with no kept token in its support is discarded.
    """

    kind: Literal["all", "window", "nearest", "overlap", "tube"] = "all"
    size: Int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _size_belongs(self) -> Support:
        if (self.kind in ("all", "tube")) != (self.size is None):
            need = "takes no size" if self.kind in ("all", "tube") else "needs a size (windows, or neighbours)"
            raise ValueError(f"support '{self.kind}' {need}")
        return self


class Transfer(Spec):
    """Where the information in dropped tokens goes (step 2)."""

    gamma: Unit = 0.0  # share of it that is kept
    tau: MaybeInfinite = Field(default=0.0, ge=0.0)  # 0: all to the most similar kept token; inf: spread evenly
    nu: Unit = 1.0  # 0: added up; 1: averaged with the token that receives
    mu: Unit = 0.0  # 1: what is received is averaged by itself before it is added
    # a_i: 1; exp(s_i) / mean exp(s); or the plain weighted sum of the features, as they are (at least 0)
    source: Literal["ones", "importance", "attention"] = "ones"
    support: Support = Support()
    # by source: each dropped token shares itself out (P sums to 1 over who receives). by anchor: each kept token takes
    # all in its support, from every other token, kept ones too (P is 1 there; tau plays no part)
    by: Literal["source", "anchor"] = "source"
    to: Literal["all", "destinations"] = "all"  # destinations: only kept tokens the selector chose as such
    among: Unit = 1.0  # share of the dropped, best score first, that give at all; at least one does if it is above 0
    metric: Literal["cosine", "distance"] = "cosine"  # similarity: cosine, or minus the Euclidean distance / sqrt(d)

    @model_validator(mode="after")
    def _consistent(self) -> Transfer:
        if self.by == "anchor" and (self.support.kind in ("all", "window", "tube") or not math.isinf(self.tau)):
            raise ValueError("transfer by anchor needs a support 'nearest' or 'overlap', and tau inf")
        if self.by == "source" and self.support.kind == "overlap":
            raise ValueError("support 'overlap' needs transfer by anchor")
        return self


class SiteSpec(Spec):
    """One place where tokens are reduced.

    ``score`` holds the weights w_k of the features; it ranks tokens for the selector ``score`` and for ``important``,
    and is the importance that ``rho``, ``among`` and ``source`` speak of whatever the selector.
    """

    place: Literal["decoder", "tower"] = "decoder"
    # what is reduced together: every picture, tile or frame by itself, or a film: all those of one grid in a prompt, in
    # order, of which the counts are then one budget
    scope: Literal["frame", "film"] = "frame"
    # before this layer; 0 of the decoder: between projector and language model; of the tower, the one after the last
    # that is used: between that and the projector
    layer: Int = Field(ge=0)
    keep: Int = Field(ge=0)  # tokens that stay
    selector: SelectorName = "score"
    important: Int = Field(default=0, ge=0)  # so many best scores stay first; the selector adds the rest
    score: dict[str, Annotated[Real, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]] = Field(default={})
    # learned: each token's cosine with this direction of the model's hidden space, times its length, joins the score
    probe: tuple[Annotated[Real, Field(allow_inf_nan=False)], ...] = Field(default=(), repr=False)
    steering: Steering | None = None  # how the question turns the probe
    spread: Real = Field(default=0.0, ge=0.0, le=100.0)  # of the selector "cover": how much unlikeness counts
    # what tokens are compared by: themselves, the tower's keys, or themselves less the mean of those present
    similarity: Literal["hidden", "keys", "centred"] = "hidden"
    # learned: tokens are compared as x + sum_k visual_k (text_k . x) instead, a metric of low rank
    metric: Steering | None = None
    # of the selector "alternate": the score times this joins unlikeness, so that tokens that matter are not merged
    protect: Real = Field(default=0.0, ge=0.0, le=100.0)
    # product: the score is that of the features, each brought to [0, 1] (from above where its weight is below 0), to
    # the power of their weights
    mixing: Literal["sum", "product"] = "sum"
    # of "diverse_topk": s + spread log distance, or m distance^spread, m being the score brought to [0, 1] (product) or
    # the plain weighted sum of the features, as they are (raw). Of "coverage": see there
    weighing: Literal["sum", "product", "raw"] = "sum"
    coverage: Coverage | None = None  # of the selector "coverage"
    quota: Quota | None = None  # of the selectors "score" and "suppress"
    suppress: Suppression | None = None  # of the selector "suppress"
    segments: Segments | None = None  # of the selector "segments"
    prior: Prior | None = None  # what a feature is divided by, place by place, before anything is made of it
    # tokens that lie wholly in the margins a picture was padded with stay last, give nothing, and count nowhere
    exclude_padding: Bool = False
    seed: Int = Field(default=0, ge=0, lt=2**32)  # of the selector "random"
    transfer: Transfer = Transfer()
    summary: Bool = False  # one of those kept is the sum of all dropped, each times its a_i, in the last one's place
    rho: Real = Field(default=0.0, ge=0.0, le=100.0)  # reweighting of kept tokens: u_j = exp(rho s_j) / mean
    beta: Unit = 0.0  # log-size bias of later attention
    positions: Literal["keep", "renumber"] = "keep"

    @model_validator(mode="before")
    @classmethod
    def _under_current_names(cls, values: Any) -> Any:
        return former_names.SITE.current(values)

    @field_validator("score")
    @classmethod
    def _known_features(cls, score: dict[str, float]) -> dict[str, float]:
        for name in score:
            if name not in ALL_FEATURES:
                raise ValueError(str(unknown("feature", name, ALL_FEATURES)))
        return score

    @model_serializer(mode="wrap")
    def _as_before(self, write: Any) -> dict[str, Any]:
        data: dict[str, Any] = write(self)
        return {name: value for name, value in data.items() if name not in LATER or value != LATER[name]}

    @model_validator(mode="after")
    def _consistent(self) -> SiteSpec:
        if (self.selector == "drop_all") != (self.keep == 0):
            raise ValueError("keep is 0 exactly when the selector is 'withdraw'")
        if self.summary and self.keep < 2:
            raise ValueError("a summary needs at least one token kept beside it")
        if self.important > self.keep - self.summary:
            beside = " beside the summary" if self.summary else ""
            raise ValueError(
                f"important {self.important} is more than the {self.keep - self.summary} that stay{beside}"
            )
        self._rules_belong()
        self._film_belongs()
        self._segments_belong()
        if self.selector == "pivots" and self.similarity != "hidden":
            raise ValueError("selector 'pivots' compares hidden states, as text tokens have no other")
        if self.metric is not None and self.similarity == "keys":
            raise ValueError("a metric is of hidden states, and keys of the tower are compared here")
        if self.protect and self.selector != "alternate":
            raise ValueError(f"'protect' is of the selector 'alternate', not '{self.selector}'")
        if self.transfer.support.kind == "overlap":
            whole = self.selector == "grid" and self.keep == self.transfer.support.size
            if not whole or self.important or self.summary:
                raise ValueError(
                    "support 'overlap' needs selector 'grid', as many kept as windows, and none beside them"
                )
        if self.steering is not None and self.place == "tower":
            raise ValueError("no question is known inside the vision tower, and none can turn a probe there")
        if self.steering is not None and self.steering.width != len(self.probe):
            raise ValueError(f"steering of width {self.steering.width} turns no probe of {len(self.probe)} numbers")
        if self.ranks and not (any(self.score.values()) or any(self.probe) or self.steering):
            raise ValueError("'score' must weigh at least one feature here (or a probe be given)")
        return self

    def _rules_belong(self) -> None:
        """Rules that only some selectors take."""
        if (self.selector == "coverage") != (self.coverage is not None):
            raise ValueError("'coverage' is given exactly when the selector is 'coverage'")
        if (self.selector == "suppress") != (self.suppress is not None):
            raise ValueError("'suppress' is given exactly when the selector is 'suppress'")
        if self.quota is not None and self.selector not in ("score", "suppress"):
            raise ValueError(
                f"a quota orders its groups by the score: selector 'score' or 'suppress', not '{self.selector}'"
            )
        if self.quota is not None and self.quota.feature and self.quota.feature not in ALL_FEATURES:
            raise ValueError(str(unknown("feature", self.quota.feature, ALL_FEATURES)))
        if self.quota is not None and self.quota.of_suppression and self.suppress is None:
            raise ValueError("a quota of components or by survivors is of the selector 'suppress'")
        if self.exclude_padding and self.selector not in EXCLUDING:
            raise ValueError(f"'exclude_padding' is of the selectors {', '.join(EXCLUDING)}, not '{self.selector}'")
        if self.exclude_padding and self.place == "tower":
            raise ValueError("padding is passed over in the decoder only")
        if self.prior is not None and self.place == "tower":
            raise ValueError("a prior is of features in the decoder")
        if self.prior is not None and self.prior.feature not in self.score:
            raise ValueError(f"a prior of '{self.prior.feature}', which the score does not weigh")
        if self.weighing != "sum" and self.selector not in WEIGHING:
            raise ValueError(f"weighing '{self.weighing}' is of the selectors {' and '.join(WEIGHING)}")
        if self.mixing == "product" and (self.probe or self.steering):
            raise ValueError("a probe joins a sum, and no product: mixing 'sum'")
        if self.mixing == "product" and self.reads_raw:
            raise ValueError("features are taken as they are here, weighed and added up: mixing 'sum'")
        if self.coverage is not None and self.coverage.text > 0:
            if self.place == "tower":
                raise ValueError("no text is known inside the vision tower, and none can be covered there")
            if self.similarity != "hidden":
                raise ValueError("text rows are compared with hidden states: similarity 'hidden'")

    def _film_belongs(self) -> None:
        """What looks across frames needs the scope that holds several."""
        if self.scope == "film":
            if self.place == "tower":
                raise ValueError("frames go through the vision tower one by one: scope 'film' is of the decoder")
            if self.transfer.support.kind == "overlap":
                raise ValueError("support 'overlap' pools single pictures: scope 'frame'")
            if self.quota is not None and self.quota.kind == "strips":
                raise ValueError("strips are of single pictures; a film has a quota of 'frames' or 'windows'")
            return
        across = [name for name in FILM_FEATURES if self.score.get(name)]
        if across:
            raise ValueError(f"feature '{across[0]}' looks across the frames of a film: scope 'film'")
        if self.transfer.support.kind == "tube":
            raise ValueError("support 'tube' runs across the frames of a film: scope 'film'")
        if self.quota is not None and (self.quota.kind == "frames" or self.quota.feature in FILM_FEATURES):
            raise ValueError("a quota of frames is of a film: scope 'film'")

    def _segments_belong(self) -> None:
        """The selector that cuts a film also says who joins whom."""
        if (self.selector == "segments") != (self.segments is not None):
            raise ValueError("'segments' is given exactly when the selector is 'segments'")
        if self.segments is None:
            return
        if self.scope != "film":
            raise ValueError("selector 'segments' cuts a film: scope 'film'")
        plain = self.transfer == Transfer(gamma=self.transfer.gamma) and self.transfer.gamma in (0, 1)
        beside = self.important or self.summary or self.rho or self.quota or self.metric
        if not plain or beside or self.similarity != "hidden":
            raise ValueError(
                "selector 'segments' says itself who joins whom: gamma 0 or 1, every other field of the transfer left"
                " out, and no 'important', 'summary', 'rho', 'quota', 'metric' or other similarity"
            )

    @property
    def ranks(self) -> bool:
        """Whether the score is read when tokens are removed."""
        giving = self.transfer.source != "ones" or self.transfer.among < 1
        return self.weighs_score or self.important > 0 or self.rho > 0 or self.protect > 0 or giving

    @property
    def weighs_score(self) -> bool:
        """Whether the selector reads the score; coverage does where there is one."""
        if self.segments is not None:
            return self.segments.salient > 0
        return self.selector in SCORED or (self.selector == "coverage" and any(self.score.values()))

    @property
    def reads_raw(self) -> bool:
        """Whether the selector reads the features as they are."""
        return self.weighing == "raw" or (self.quota is not None and self.quota.share == "mean")

    def is_noop(self, tokens: int) -> bool:
        """Whether this site leaves ``tokens`` incoming tokens exactly as they are."""
        return self.keep == tokens and self.rho == 0.0

    def regime(self, tokens: int) -> Regime:
        """The corner of the operator space this site sits on, given the incoming count; else ``hybrid``."""
        if self.keep == tokens:
            return "reweight" if self.rho > 0 else "identity"
        if self.rho > 0 or self.summary:
            return "hybrid"
        transfer = self.transfer
        if transfer.gamma == 0 or self.keep == 0:
            return "prune"
        if self.segments is not None:
            return "merge" if self.segments.salient == 0 else "hybrid"
        if transfer.gamma == 1 and transfer.among == 1 and transfer.source == "ones":
            if transfer.tau == 0:
                return "merge"
            # by anchor, windows pool; the nearest tokens of each are no pool
            if math.isinf(transfer.tau) and (transfer.by == "source" or transfer.support.kind == "overlap"):
                return "pool"
        return "hybrid"
