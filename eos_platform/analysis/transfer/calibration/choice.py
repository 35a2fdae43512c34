"""An operator from elsewhere, adjusted to a model without labels.

    made = calibrated(original, workload, cost, budget, rank=8)

Learned directions do not travel, but what they were for does: they find the tokens that the answer to a question
depends on. So each site that ranks gets a direction in closed form (``readings.py``) from the gradients of the new
model's own answers (``dependence.py``). Then one setting after the other is chosen: how much features count beside the
direction, if it is used at all; how much of what is dropped is merged into what stays; how tokens are split among the
sites; how much unlikeness counts; how softly dropped tokens are shared out. Each time the deployed operator stays whose
answers are closest to the unreduced model's, in KL divergence, on prompts that the direction was not made of. All
candidates cost the same: counts are fitted anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import ValidationError
from torch import Tensor

from eos_platform.analysis.transfer.calibration.answers import Answers
from eos_platform.analysis.transfer.calibration.dependence import dependence_of
from eos_platform.analysis.transfer.calibration.prompts import Prompts
from eos_platform.analysis.transfer.calibration.readings import Reading, reading_of
from eos_platform.analysis.transfer.fitted import filled, fitted, within
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search.cost import SearchCost
from eos_platform.tasks.base import Subject

SURE = 1.0  # standard errors by which a setting is better that is taken


@dataclass(frozen=True)
class Setting:
    """What is chosen.

    Attributes:
        features: how much they count beside a direction of spread 1; None: there is no direction.
        gamma: share of dropped tokens' information that is merged into kept ones; None: as the operator has it.
        split: exponent on the share of tokens that stays at later sites; 0: the first site alone reduces.
        spread: factor on how much unlikeness counts.
        tau: factor on how softly dropped tokens are shared out.
    """

    features: float | None = None
    gamma: float | None = None
    split: float = 1.0
    spread: float = 1.0
    tau: float = 1.0


TRIED: dict[str, tuple[float | None, ...]] = {
    "features": (None, 0.2, 1.0, 2.0),
    "gamma": (None, 0.9, 0.2),
    "split": (1.0, 0.0, 0.5, 1.5),
    "spread": (1.0, 0.5, 2.0),
    "tau": (1.0, 0.3, 3.0),
}


@dataclass(frozen=True)
class Calibrated:
    """What came of it.

    Attributes:
        operator: within the budget.
        changes: against the original, a line each.
        prompts: run through the model, with repetition; those with gradients among them.
        seconds: of what an earlier calibration of the same model did, and is used here: prompts, directions.
    """

    operator: OperatorSpec
    changes: list[str]
    prompts: int
    seconds: float


def calibrated(
    original: OperatorSpec, workload: Subject, cost: SearchCost, budget: float, rank: int | None
) -> Calibrated:
    """``original`` rescaled to ``workload``'s model at ``budget``, and adjusted to it.

    Args:
        original: found elsewhere.
        workload: where it is to be used; labels of its questions are not looked at.
        cost: that the budget is about.
        budget: at most.
        rank: of the steering; 0: the same direction for every question; None: no direction.

    Raises:
        EosError: see ``fitted``.
    """
    plain, changes = fitted(original, workload, cost, budget)
    prompts, seconds = _prompts(workload)
    answers, readings, asked, spent = Answers(workload, prompts), dict[int, Reading](), 0, 0.0
    layers = tuple(sorted({site.layer for site in plain.sites if _ranks(site)}))
    if rank is not None and layers:
        readings, asked, spent = _readings(workload, layers, rank, prompts)

    def made(setting: Setting) -> OperatorSpec:
        source = _changed(original, setting)
        plain = fitted(source, workload, cost, budget)[0]
        if setting.features is None:
            return filled(plain, workload, cost, budget)
        directed = within(_directed(plain, readings, setting.features), plain, source, workload, cost, budget)
        return filled(directed, workload, cost, budget)

    operator, setting, told = _best(made, answers.divergence, {} if readings else {"features": (None,)})
    if setting.features is not None:
        explained = ", ".join(f"{readings[layer].explained:.0%} at layer {layer}" for layer in layers)
        told.insert(0, f"directions from the model's own answers, which explain of what these depend on: {explained}")
    return Calibrated(operator, [*changes, *told], asked + answers.asked, seconds + spent)


def _best(
    made: Callable[[Setting], OperatorSpec],
    divergence: Callable[[OperatorSpec], Tensor],
    less: dict[str, tuple[float | None, ...]],
) -> tuple[OperatorSpec, Setting, list[str]]:
    """One setting after the other; the operator, how it is set, and what was changed."""
    setting = Setting()
    operator = made(setting)
    first_q = lowest_q = divergence(operator)
    known = [operator.sites]
    for name, values in (TRIED | less).items():
        for value in values:
            other_value: dict[str, Any] = {name: value}
            tried = replace(setting, **other_value)
            try:
                other = made(tried)
            except (EosError, ValidationError):  # this setting is none for these sites
                continue
            if other.sites in known:
                continue
            known.append(other.sites)
            other_q = divergence(other)
            gap_q = lowest_q - other_q
            if gap_q.mean() > SURE * gap_q.std() / len(gap_q) ** 0.5:
                lowest_q, operator, setting = other_q, other, tried
    words = [
        f"{name} {getattr(setting, name):g}" for name in TRIED if getattr(setting, name) != getattr(Setting(), name)
    ]
    told = [f"{', '.join(words)}: KL divergence {first_q.mean():.3f} -> {lowest_q.mean():.3f}"] if words else []
    return operator, setting, told


_ASKED: WeakKeyDictionary[Any, dict[str, tuple[Prompts, float]]] = WeakKeyDictionary()  # by model
Made = tuple[dict[int, Reading], int, float]
_MADE: WeakKeyDictionary[Any, dict[tuple[str, tuple[int, ...], int], Made]] = WeakKeyDictionary()  # by model


def _prompts(workload: Subject) -> tuple[Prompts, float]:
    """Those of a model and its task, encoded once, and the seconds that this took; 0 when it is now."""
    kept = _ASKED.setdefault(workload.model, {})
    if workload.source in kept:
        return kept[workload.source]
    begun = time.monotonic()
    prompts = Prompts.of(workload)
    kept[workload.source] = prompts, time.monotonic() - begun
    return prompts, 0.0


def _readings(workload: Subject, layers: tuple[int, ...], rank: int, prompts: Prompts) -> Made:
    """Directions of a model at some layers, made once for all operators that come there; their prompts and seconds.

    The seconds are 0 when they are made now, and count by themselves.
    """
    kept, key = _MADE.setdefault(workload.model, {}), (workload.source, layers, rank)
    if key in kept:
        return kept[key]
    begun = time.monotonic()
    found = dependence_of(workload, layers, prompts)
    readings = {layer: reading_of(pieces, found.question_qd, rank) for layer, pieces in found.pieces.items()}
    kept[key] = readings, len(found.question_qd), time.monotonic() - begun
    return readings, len(found.question_qd), 0.0


def _ranks(site: SiteSpec) -> bool:
    """Whether a direction can join the score that a site ranks by."""
    return site.place == "decoder" and site.weighs_score and site.mixing == "sum" and not (site.reads_raw or site.probe)


def _directed(operator: OperatorSpec, readings: Mapping[int, Reading], features: float) -> OperatorSpec:
    """With directions at the sites that rank, and features that count ``features`` times as much."""
    sites = []
    for site in operator.sites:
        if _ranks(site):
            size = sum(weight**2 for weight in site.score.values()) ** 0.5 or 1.0
            reading = readings[site.layer]
            site = SiteSpec.model_validate(
                {
                    **site.model_dump(),
                    "score": {name: float(f"{features * weight / size:.5g}") for name, weight in site.score.items()},
                    "probe": tuple(float(f"{value:.5g}") for value in reading.probe_d.tolist()),
                    "steering": reading.steering,
                }
            )
        sites.append(site)
    return type(operator).model_validate({**operator.model_dump(), "sites": tuple(sites)})


def _changed(original: OperatorSpec, setting: Setting) -> OperatorSpec:
    """The original with its counts split otherwise, and other factors."""
    sites, entering = list[SiteSpec](), original.sites[0].keep if original.sites else 0
    for number, site in enumerate(original.sites):
        fields = site.model_dump()
        if number and entering and site.keep and setting.split != 1:
            share = (site.keep / entering) ** setting.split
            fields["keep"] = min(max(1, round(entering * share)), sites[-1].keep)
            if fields["keep"] == sites[-1].keep and not site.rho:
                continue
        fields["spread"] = site.spread * setting.spread
        fields["transfer"]["tau"] = site.transfer.tau * setting.tau
        if setting.gamma is not None and site.transfer.gamma:
            fields["transfer"]["gamma"] = setting.gamma
        sites.append(SiteSpec.model_validate(fields))
    return type(original).model_validate({**original.model_dump(), "sites": tuple(sites)})
