"""CDPruner: keep tokens that are relevant to the question and unlike each other (a determinantal point process).

Source: Zhang, Liu, Li, Lu, Zhou, Pan, She, Zhang, "Beyond Attention or Similarity: Maximizing Conditional Diversity for
Token Pruning in MLLMs", arXiv 2506.10967.

Parameters: selector ``dpp`` on ``relevance`` before the language model (the greedy most probable set of the kernel of
cosines, weighted by relevance brought to [0, 1]), gamma = 0, positions renumbered.

Deviations: relevance is the cosine of visual tokens to the question's own input embeddings in the language model, where
the original asks CLIP's text tower (which a LLaVA does not carry) and takes the negative; it is brought to [0, 1] for
each picture instead of over the batch.

Published: the counts themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _site(keep: int, feature: str = "relevance", positions: str = "renumber") -> SiteSpec:
    return SiteSpec(layer=0, keep=keep, selector="dpp", score={feature: 1.0}, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), knobs["feature"], knobs["positions"]),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    features = ("relevance", "vision", "last_text")
    return (Knob("feature", "relevance", choices=features), positions_knob("renumber"))


CDPRUNER = Design(
    "cdpruner",
    "prune",
    "Zhang et al., arXiv 2506.10967",
    "keeps relevant tokens unlike each other",
    _make,
    _knobs,
    {nominal: as_published("cdpruner", nominal, _site(nominal)) for nominal in (128, 64)},
)
