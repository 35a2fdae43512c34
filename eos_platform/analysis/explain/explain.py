"""An operator explained: where, how many, which regime and why, what ranks tokens, the nearest design, ablations.

Everything is measured deployed, on validation questions: held-out ones are for claims, not for looking into an
operator.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from eos_platform.analysis.comparison.pictures import about_one, example, examples, kept_on
from eos_platform.analysis.explain.ablations import Ablation, ablations
from eos_platform.analysis.explain.describe import place_words, site_words
from eos_platform.analysis.explain.nearest import Near, nearest
from eos_platform.analysis.explain.progress import PARTS, SITES, Advance, Progress
from eos_platform.analysis.explain.ranking import ranking, weights_of
from eos_platform.analysis.stats.intervals import interval, paired_difference
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.models.bundled import GRIDS, MODELS
from eos_platform.models.loading.hub import NAME
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions
from eos_platform.tasks.evaluate import evaluate

MATCHED = 0.025  # compute ratios that differ by less than this share of the operator's are the same
ASKED = 5  # questions about one picture
SHOWN_ON = 64  # questions that pictures are chosen from, and scores measured on


@dataclass(frozen=True)
class Explanation:
    """What is known of one operator."""

    operator: OperatorSpec
    model: str
    task: str
    questions: int
    compute_ratio: float
    whole_model_ratio: float | None
    accuracy: float
    interval: tuple[float, float]
    unreduced_accuracy: float
    sites: list[dict[str, Any]]
    nearest: list[Near]
    ablations: pd.DataFrame  # largest loss first
    examples: list[dict[str, Any]] = field(repr=False)
    kept: list[list[dict[str, Any]]] = field(repr=False)  # for each example, what each site keeps
    # where the question turns what is kept: questions about one picture, and what each site keeps for each
    asked: list[dict[str, Any]] = field(repr=False)
    kept_asked: list[list[dict[str, Any]]] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; without the pictures."""
        return {
            "operator": self.operator.model_dump(mode="json"),
            "model": self.model,
            "task": self.task,
            "questions": self.questions,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.interval),
            "unreduced_accuracy": self.unreduced_accuracy,
            "compute_ratio": self.compute_ratio,
            "whole_model_ratio": self.whole_model_ratio,
            "mean_tokens": self.operator.mean_tokens,
            "tokens_entering_each_layer": list(self.operator.counts),
            "regime": self.operator.regime,
            "sites": self.sites,
            "nearest_designs": [
                {"design": near.design, "operator": near.operator.name, "distance": near.distance, **near.axes}
                for near in self.nearest
            ],
            "ablations": self.ablations.to_dict("records"),
        }


def model_of(operator: OperatorSpec) -> str:
    """The model an operator says it is for; else the bundled model with its grid, else ``bundled``.

    Raises:
        EosError: the model it names is not to be found here.
    """
    named = operator.target.model or operator.provenance.get("model")
    if isinstance(named, str) and named:
        if named not in MODELS and not os.path.isdir(named) and not NAME.fullmatch(named):
            raise EosError(
                f"operator '{operator.name}' is for the model '{named}', which is neither a bundled model nor a folder;"
                " say where it is with --model"
            )
        return named
    fitting = (name for name, side in GRIDS.items() if operator.target.grid == (side, side))
    return next(fitting, "bundled")


def explain(
    workload: Subject,
    operator: OperatorSpec,
    *,
    questions: int = 1024,
    pictures: int = 3,
    advance: Advance = lambda done, total, what: None,
) -> Explanation:
    """Look into ``operator`` on the model and task of ``workload``.

    Args:
        questions: validation questions for the operator and each ablation.
        pictures: examples with the tokens that each site keeps.
        advance: called before each measurement with what it is, after every batch of it, and after the last. Work is
            counted by what it costs: a reduced model answers several times as fast as the unreduced one.

    Raises:
        EosError: the operator is for another model, or ``questions`` is below 1.
    """
    if questions < 1:
        raise EosError(f"questions must be at least 1, got {questions}")
    workload.check(operator)
    changed = [one for one in ablations(operator) if _works(workload, one.operator)]
    shares = [_costs(workload, one)[0] + SITES for one in (operator, *(ablation.operator for ablation in changed))]
    asked_of_all = 3 * SHOWN_ON / max(questions, SHOWN_ON)
    progress = Progress(advance, [1.0, shares[0], asked_of_all, *shares[1:]], questions)
    answered_one = progress.begin("the unreduced model")
    unreduced = evaluate(workload, None, "validation", questions, answered=answered_one).accuracy
    answered_one = progress.begin("the operator")
    base = evaluate(workload, operator, "validation", questions, answered=answered_one).scores
    progress.begin("scores and pictures")
    parts = ranking(
        workload.model, operator, workload.encoded("validation", questions).encoded_with(operator), SHOWN_ON
    )
    ratios = _costs(workload, operator)
    encoded = workload.encoded("heldout", SHOWN_ON)
    shown = examples(encoded, pictures)
    kept = kept_on(workload, operator, encoded.encoded_with(operator), [example["question"] for example in shown])
    steered = pictures > 0 and "question" in OperatorPlan.of(operator).features
    steered_on = about_one(encoded, ASKED) if steered else []
    kept_asked = kept_on(workload, operator, encoded.encoded_with(operator), steered_on)
    near = nearest(operator, ratios[0], workload.target, workload.shape, workload.text_tokens)
    rows = []
    for ablation in changed:
        answered_one = progress.begin(ablation.name)
        rows.append(_measured(workload, ablation, base, ratios, questions, answered_one))
    advance(PARTS, PARTS, "")
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("difference", kind="stable", ignore_index=True)
    return Explanation(
        operator=operator,
        model=workload.name,
        task=workload.task,
        questions=len(base),
        compute_ratio=ratios[0],
        whole_model_ratio=ratios[1],
        accuracy=float(base.mean()),
        interval=interval(base),
        unreduced_accuracy=unreduced,
        sites=[_site(operator, number, parts[number]) for number in range(len(operator.sites))],
        nearest=near,
        ablations=frame,
        examples=shown,
        kept=kept,
        asked=[
            {**example(encoded, number), "right": right}
            for number, right in zip(steered_on, answered(workload, operator, encoded, steered_on), strict=True)
        ],
        kept_asked=kept_asked,
    )


def _works(workload: Subject, operator: OperatorSpec) -> bool:
    """Whether an operator can be at work on the model: positions of several axes cannot be counted anew, say."""
    try:
        workload.check(operator)
    except EosError:
        return False
    return True


@torch.no_grad()
def answered(workload: Subject, operator: OperatorSpec, encoded: EncodedQuestions, numbers: list[int]) -> list[float]:
    """What the answers to these questions are worth."""
    if not numbers:
        return []
    seen = encoded.encoded_with(operator)
    batch = seen.batch(torch.tensor(numbers, device=workload.model.device))
    worth: list[float] = seen.scores(batch, operator).tolist()
    return worth


COLUMNS = (
    *("name", "what", "where", "was", "accuracy", "difference", "low", "high"),
    *("compute_ratio", "whole_model_ratio", "matched", "mean_tokens"),
)


def _measured(
    workload: Subject,
    ablation: Ablation,
    base: np.ndarray,
    ratios: tuple[float, float | None],
    questions: int,
    answered_one: Callable[[int], None],
) -> dict[str, Any]:
    right = evaluate(workload, ablation.operator, "validation", questions, answered=answered_one).scores
    difference, low, high = paired_difference(right, base)
    costs = _costs(workload, ablation.operator)
    return {
        "name": ablation.name,
        "what": ablation.what,
        "where": ablation.where,
        "was": ablation.was,
        "accuracy": float(right.mean()),
        "difference": difference,
        "low": low,
        "high": high,
        "compute_ratio": costs[0],
        "whole_model_ratio": costs[1],
        "matched": all(
            abs(cost - own) <= MATCHED * own
            for cost, own in zip(costs, ratios, strict=True)
            if cost is not None and own is not None
        ),
        "mean_tokens": ablation.operator.mean_tokens,
    }


def _costs(workload: Subject, operator: OperatorSpec) -> tuple[float, float | None]:
    """Compute ratios: of the language model, and with vision tower and projector, where that is known."""
    return float(compute_ratio(operator, workload.shape, workload.text_tokens)), workload.whole_ratio(operator)


def _site(operator: OperatorSpec, number: int, parts: dict[str, float | None]) -> dict[str, Any]:
    site, arriving = operator.sites[number], operator.incoming[number]
    weights = weights_of(site) if site.ranks else {}
    return {
        "site": number + 1,
        "place": site.place,
        "layer": site.layer,
        "stands": place_words(site),
        "arriving": arriving,
        "keep": site.keep,
        "regime": site.regime(arriving),
        "words": site_words(operator, number),
        "weights": weights,
        "steering": site.steering.rank if site.ranks and site.steering else 0,
        "variance_explained": parts,
    }
