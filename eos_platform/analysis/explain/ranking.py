"""What ranks the tokens at each site: how much of the score's variance each feature explains, on example questions.

A score is a sum of parts (weight times z-scored feature; what the probe says), so its variance over the tokens of a
picture is the sum of the parts' covariances with it: a part's share is that covariance over the variance. Shares add up
to 1; one below 0 belongs to a part that speaks against the others.

Legend: b batch, k tokens present in the sequence, n visual tokens present, p parts of the score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.attention.rope import Rope
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.decoder_hooks import DecoderHooks
from eos_platform.models.runtime.registry import registered
from eos_platform.models.runtime.site_step import Step, features_at
from eos_platform.models.runtime.token_state import SpanGroup, TokenState
from eos_platform.operators.plan import OperatorPlan, PlannedSite
from eos_platform.operators.reduce import probed, with_film_features
from eos_platform.operators.score import combine, with_token_features
from eos_platform.operators.spec import ALL_FEATURES, OperatorSpec, SiteSpec
from eos_platform.operators.tokens import Tokens
from eos_platform.tasks.batch import EncodedQuestions

PROBE = "probe"
BATCH = 32


def weights_of(site: SiteSpec) -> dict[str, float]:
    """What a site's score is made of: weights by feature, and the probe's length, before a question turns it."""
    weights = {name: site.score[name] for name in ALL_FEATURES if site.score.get(name)}
    if any(site.probe) or site.steering:
        weights[PROBE] = math.sqrt(sum(part**2 for part in site.probe))
    return weights


@torch.no_grad()
def ranking(
    model: Any, operator: OperatorSpec, encoded: EncodedQuestions, questions: int = 64
) -> list[dict[str, float | None]]:
    """For each site, the share of the score's variance that each of its parts explains (mean over questions).

    Empty where nothing is ranked; None where it is not measured (several parts inside the vision tower).

    Args:
        model: with no operator on it.
        operator: the operator.
        encoded: the questions, as its vision tower sees them.
        questions: so many of them, and what is left of a batch.

    Raises:
        EosError: an operator is attached to the model, or this one is made for another.
    """
    sums: dict[int, list[Tensor]] = {}
    numbers = {id(site): number for number, site in enumerate(operator.sites)}

    def note(site: SiteSpec, parts_pbn: Tensor) -> None:
        sums.setdefault(numbers[id(site)], []).append(shares(parts_pbn))

    model = unwrapped(model)
    known = [weights_of(site) if site.ranks else {} for site in operator.sites]
    if any(len(parts) > 1 for parts in known):
        left, plan = min(questions, len(encoded)), OperatorPlan.of(operator)
        for batch in encoded.batches(min(BATCH, left)):
            with registered(model, partial(_ScoreRecorder, model, parts_of(model), plan, batch.layout)) as hooks:
                hooks.note = note
                adapter_of(model).forward(batch.prefill)
            left -= len(batch.index_b)
            if left <= 0:
                break
    rankings: list[dict[str, float | None]] = []
    for number, parts in enumerate(known):
        measured = torch.cat(sums[number], 1).mean(1).tolist() if number in sums else None
        if len(parts) == 1:
            measured = [1.0]
        rankings.append(dict(zip(parts, measured or [None] * len(parts), strict=True)))
    return rankings


def shares(parts_pbn: Tensor) -> Tensor:
    """Each part's share of the variance of their sum (p, b); zeros where the sum does not vary."""
    centred_pbn = parts_pbn - parts_pbn.mean(-1, keepdim=True)
    total_bn = centred_pbn.sum(0)
    variance_b = total_bn.square().sum(-1)
    return (centred_pbn * total_bn).sum(-1) / torch.where(variance_b > 0, variance_b, 1.0)


class _ScoreRecorder(DecoderHooks):
    """An operator at work that tells what each site's score is made of, before the site acts."""

    note: Callable[[SiteSpec, Tensor], None]

    def _apply(self, planned: PlannedSite, present: TokenState, x_bkd: Tensor, rope: Rope, layer: Any) -> Step:
        weights = weights_of(planned.site) if planned.site.ranks else {}
        if len(weights) > 1:
            sites, more = self._fitted(planned, present), [name for name in weights if name != PROBE]
            features = features_at(sites, present, x_bkd, rope, layer, self.parts, more)
            for one, group, given in zip(sites, present.groups, features, strict=True):
                if not one.site.is_noop(one.incoming):
                    self.note(planned.site, _parts(planned.site, group, x_bkd, given))
        return super()._apply(planned, present, x_bkd, rope, layer)


def _parts(site: SiteSpec, group: SpanGroup, x_bkd: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """What a site's score is the sum of (p, b, n)."""
    weights, x_bnd = weights_of(site), group.taken(x_bkd)
    features = with_token_features(given, x_bnd, tuple(weights))
    tokens = Tokens(x_bnd, group.size_un, group.origin_un)
    features = {**with_film_features(features, tokens, tuple(weights), group.grid)}
    parts = [
        probed(site, x_bnd, given.get("question")) if name == PROBE else weight * combine(features, {name: 1.0})
        for name, weight in weights.items()
    ]
    return torch.stack([part.float() for part in parts])
