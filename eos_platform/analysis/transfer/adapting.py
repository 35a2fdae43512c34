"""A few steps of search from an operator that is good already, at the sites and counts that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from eos_platform.analysis.transfer.fitted import fitted
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.run import search
from eos_platform.search.starts.structure import structure_at
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate

START = "transfer"  # how an adapted operator's search is called
SLOWER = 0.2  # learning rate of an adaptation, of a search's
SIZE = 0.5  # of the numbers of a score, on average, when steps begin


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        operator: the better one on validation questions.
        validation: its accuracy there, deployed.
        changes: a line, if the steps made nothing better.
        prompts: run through the model, with repetition.
    """

    operator: OperatorSpec
    validation: float
    changes: list[str]
    prompts: int


def adapted(
    operator: OperatorSpec,
    workload: Subject,
    config: SearchConfig,
    cost: SearchCost,
    report: Callable[[int, dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> Adapted:
    """``operator`` after ``config.steps`` steps, unless it was better before.

    Raises:
        EosError: see ``structure_at``.
    """
    config, begun = adapting(config, operator), at_size(operator)
    structure = structure_at(
        workload,
        begun,
        config.model_copy(update={"start": START}),
        cost,
        lambda budget: fitted(begun, workload, cost, budget)[0],
    )
    start = directions(begun, workload, config)
    result = search(workload, config, report=report, checkpoint=checkpoint, start=start, cost=cost, structure=structure)
    before = evaluate(workload, operator, "validation", config.eval_questions)
    prompts = result.samples + 2 * before.questions
    if before.accuracy >= result.accuracy:
        kept = (
            f"kept as it was: {before.accuracy:.1%} of the validation questions, {result.accuracy:.1%} after the steps"
        )
        return Adapted(operator, before.accuracy, [kept], prompts)
    return Adapted(result.operator, result.accuracy, [], prompts)


def adapting(config: SearchConfig, operator: OperatorSpec) -> SearchConfig:
    """Settings for a few steps from an operator that is good already.

    Nothing is begun anew: directions that did not travel, and a metric, start at zero, and are hardly more than noise
    after so few steps. The selection is as sharp from the first step as it is deployed, and no more questions are
    encoded than the steps draw.
    """
    directed = any(site.probe for site in operator.sites)
    return config.model_copy(
        update={
            "learning_rate": SLOWER * config.learning_rate,
            "probe": config.probe and directed,
            "metric_rank": 0,
            "temperature_start": config.temperature_end,
            "budget_warm_up": 1.0,
            "search_questions": min(config.search_questions, config.steps * config.batch_size),
        }
    )


def at_size(operator: OperatorSpec) -> OperatorSpec:
    """The same operator, its scores' numbers so large that a step of the learning rate is small beside them.

    Only the proportions of a score count, but steps of Adam are of one size: an operator whose direction was dropped
    keeps feature weights of a few hundredths, whose order one step turns round.
    """
    return type(operator).model_validate({**operator.model_dump(), "sites": tuple(map(_at_size, operator.sites))})


def _at_size(site: SiteSpec) -> SiteSpec:
    numbers = torch.tensor(site.probe or tuple(site.score.values()))
    if not site.ranks or site.mixing != "sum" or site.reads_raw or site.transfer.source != "ones" or not numbers.any():
        return site
    factor = SIZE / float(numbers.square().mean().sqrt())
    steering = site.steering
    if steering is not None:
        text_kd, visual_kd = steering.tensors()
        visual_kd = factor * visual_kd
        even = (visual_kd.norm() / text_kd.norm().clamp_min(1e-12)).sqrt().clamp_min(1e-6)
        steering = Steering.of(text_kd * even, visual_kd / even)
    fields = {
        "score": {name: factor * weight for name, weight in site.score.items()},
        "probe": tuple(factor * value for value in site.probe),
        "steering": steering,
    }
    return SiteSpec.model_validate({**site.model_dump(), **fields})


@torch.no_grad()
def directions(operator: OperatorSpec, workload: Subject, config: SearchConfig) -> Mapping[str, Tensor]:
    """Where a search of these sites' directions begins, by the names of its parameters; none: at no direction.

    A search has the mean question apart (``Head``), a file within the probe.
    """
    sites, width, rank = operator.decoder_sites, workload.shape.hidden, config.steering_rank
    if not config.learns_directions or not any(site.probe for site in sites):
        return {}
    probe_sd = torch.zeros(len(sites), width)
    text_skd, visual_skd = torch.zeros(len(sites), rank, width), torch.zeros(len(sites), rank, width)
    mean_d = workload.encoded("search", config.search_questions).mean_question().float().cpu() if rank else None
    for number, site in enumerate(sites):
        if site.probe:
            probe_sd[number] = torch.tensor(site.probe)
        if site.steering is not None and site.steering.rank == rank and mean_d is not None:
            text_skd[number], visual_skd[number] = site.steering.tensors()
            probe_sd[number] += (text_skd[number] @ mean_d) @ visual_skd[number]
    start = {"head.probe": probe_sd}
    if rank and bool(text_skd.any(-1).all()):  # one that reads nothing would never learn to
        start |= {"head.question_proj": text_skd, "head.direction_delta": visual_skd}
    return start
