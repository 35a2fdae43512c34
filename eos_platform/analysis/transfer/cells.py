"""One cell of the matrix: an operator brought to a place, deployed there, and asked held-out questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eos_platform.analysis.stats.bitpack import pack
from eos_platform.analysis.transfer.fitted import fitted
from eos_platform.analysis.transfer.places import Place
from eos_platform.analysis.transfer.plan import ADAPTED_CARRIED, ANEW, CARRIED, UNREDUCED, ZERO_SHOT, Item, Settings
from eos_platform.analysis.transfer.probes import carried
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, search_cost
from eos_platform.search.portfolio.find import find
from eos_platform.search.portfolio.race import resumed
from eos_platform.search.run import search
from eos_platform.search.starts.structure import CLOSER, structure_at
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate

Record = dict[str, Any]
Load = Callable[[Place], Subject]
SLOWER = 0.2  # learning rate of an adaptation, of a search's
START = "transfer"  # how an adapted operator's search is called


def measure(
    item: Item,
    workload: Subject,
    settings: Settings,
    source: tuple[OperatorSpec, Place | None] | None,
    load: Load,
    report: Callable[[int, dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> Record:
    """A cell's record; one that cannot be has ``status`` ``refused`` and the reason.

    Args:
        item: the cell.
        workload: its place, loaded.
        settings: of the matrix.
        source: the operator, and the place it was found in (None: a file's, known by its model's name alone); None for
            what is not transferred.
        load: loads a model on the questions of another place.
        report: of the steps of a search.
        checkpoint: a folder for a search's state.
    """
    record: Record = {"key": item.key, "kind": item.kind, "place": item.place, "source": item.source}
    record |= {"budget": item.budget, "seed": item.seed, "steps": 0, "changes": []}
    begun = time.monotonic()
    try:
        operator, found = _operator(item, workload, settings, source, load, report, checkpoint)
        seconds = time.monotonic() - begun
        evaluation = evaluate(workload, operator, "heldout", settings.questions)
    except EosError as error:
        return record | {"status": "refused", "reason": str(error)}
    spec = operator or OperatorSpec(name=UNREDUCED, target=workload.target)
    return (
        record
        | found
        | {
            "status": "measured",
            "accuracy": evaluation.accuracy,
            "questions": evaluation.questions,
            "scores": pack(evaluation.scores),
            "per_skill": {name: round(value, 6) for name, value in evaluation.per_skill.items()},
            "compute_ratio": float(compute_ratio(spec, workload.shape, workload.text_tokens)),
            "mean_tokens": spec.mean_tokens,
            "seconds": seconds,
            "about": about(workload),
            "operator": strict_json.loads(spec.to_json()) if operator else None,
        }
    )


def about(workload: Subject) -> dict[str, Any]:
    """What may tell beforehand whether an operator will do."""
    config = workload.model.config
    return {
        "family": str(getattr(config, "model_type", type(workload.model).__name__)),
        "task": workload.task,
        "layers": workload.target.layers,
        "tokens": workload.target.tokens,
        "hidden": workload.shape.hidden,
        "text_tokens": workload.text_tokens,
    }


def _operator(
    item: Item,
    workload: Subject,
    settings: Settings,
    source: tuple[OperatorSpec, Place | None] | None,
    load: Load,
    report: Callable[[int, dict[str, float]], None] | None,
    checkpoint: Path | None,
) -> tuple[OperatorSpec | None, Record]:
    if item.kind == UNREDUCED:
        return None, {}
    if item.kind == ANEW:
        config = settings.config(item.budget, item.seed, settings.steps)
        result = find(workload, config, report=report, checkpoint=checkpoint)
        return result.operator, {"steps": config.steps, "validation": result.accuracy}
    if source is None:
        raise EosError(f"no operator was found on {item.source} at {item.budget:g}")
    original, origin = source
    config = settings.config(item.budget, item.seed, settings.adapt_steps)
    cost = search_cost(workload, config)
    operator, changes = fitted(original, workload, cost, item.budget)
    found: Record = {"changes": changes, "directed": any(site.probe for site in original.sites)}
    if item.kind in (CARRIED, ADAPTED_CARRIED):
        if origin is None:
            raise EosError("where the operator was found is not known: its directions cannot be carried")
        directed = carried(original, operator, load(origin), workload)
        operator = _within(directed, operator, original, workload, cost, item.budget)
    if item.kind in (ZERO_SHOT, CARRIED):
        return operator, found
    config = adapting(config, operator)
    structure = structure_at(
        workload,
        operator,
        config.model_copy(update={"start": START}),
        cost,
        lambda budget: fitted(original, workload, cost, budget)[0],
    )
    result = search(
        workload,
        resumed(config, settings.adapt_steps),
        report=report,
        checkpoint=checkpoint,
        start=directions(operator, workload, config),
        cost=cost,
        structure=structure,
    )
    before = evaluate(workload, operator, "validation", config.eval_questions).accuracy
    found |= {"steps": settings.adapt_steps, "validation": max(before, result.accuracy)}
    if before >= result.accuracy:
        kept = f"kept as it was: {before:.1%} of the validation questions, {result.accuracy:.1%} after the steps"
        return operator, found | {"changes": [*changes, kept]}
    return result.operator, found


def adapting(config: SearchConfig, operator: OperatorSpec) -> SearchConfig:
    """Settings for a few steps from an operator that is good already.

    At the full learning rate 40 steps lose what the operator came with, and directions that begin at nothing are
    hardly more than noise by then: ones that did not travel are not learned anew.
    """
    directed = any(site.probe for site in operator.sites)
    return config.model_copy(
        update={"learning_rate": SLOWER * config.learning_rate, "probe": config.probe and directed}
    )


def _within(
    operator: OperatorSpec,
    plain: OperatorSpec,
    original: OperatorSpec,
    workload: Subject,
    cost: SearchCost,
    budget: float,
) -> OperatorSpec:
    """With directions an operator costs a little more than ``plain``: fewer tokens, until it fits again."""
    for _ in range(8):
        over = cost.deployed(operator) - budget
        if over <= 0:
            return operator
        # below what it costs now, not below the last aim: what is over may be less than a token costs
        plain = fitted(original, workload, cost, cost.deployed(plain) - CLOSER * over)[0]
        sites = tuple(
            type(site).model_validate({**fewer.model_dump(), "probe": site.probe, "steering": site.steering})
            for site, fewer in zip(operator.sites, plain.sites, strict=True)
        )
        operator = type(operator).model_validate({**operator.model_dump(), "sites": sites})
    raise EosError(f"operator '{operator.name}': with its directions it does not fit {budget:g} on {workload.name}")


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
