"""What a gradient search turns, as a box that a black-box optimiser can look for points in.

Candidate sites, features and how values are read are those of ``search.Parameters``; so is how counts follow: the
later sites' shares are free, and the first count is whatever meets the budget. Left out is only what changes no
operator: the first site's share, and features that site cannot weigh. Numbers that a search keeps unbounded stand here
as they are read (shares and not logits), those that range over orders of magnitude on a logarithmic scale. The ranges
of weights, probe and rho hold what gradient searches were seen to find, with room to spare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from eos_platform.operators.spec import FEATURES, OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import to_operator, whole_counts
from eos_platform.search.parameters import SPREAD_MOST, TAU_RANGE, Parameters
from eos_platform.search.start import check, counts_now
from eos_platform.tasks.base import Subject


def _same(value: float) -> float:
    return value


def _sigmoid(raw: float) -> float:
    return 1 / (1 + math.exp(-raw))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _softplus(raw: float) -> float:
    return math.log1p(math.exp(raw))


def _softplus_back(value: float) -> float:
    return math.log(math.expm1(value))


@dataclass(frozen=True)
class Scale:
    """Bounds of one kind of number, and how it stands in ``Parameters``."""

    low: float
    high: float
    log: bool = False
    read: Callable[[float], float] = _same  # from there
    write: Callable[[float], float] = _same  # to there


SHARE = Scale(0.001, 0.999, read=_sigmoid, write=_logit)
SCALES = {
    "keep": SHARE,
    "weights": Scale(-2.0, 2.0),
    "probe": Scale(-2.0, 2.0),
    "spread": Scale(0.01, SPREAD_MOST, log=True),
    "gamma": SHARE,
    "log_tau": Scale(*TAU_RANGE, log=True, read=math.exp, write=math.log),
    "nu": SHARE,
    "rho": Scale(0.01, 3.0, log=True, read=_softplus, write=_softplus_back),
    "beta": SHARE,
}


@dataclass(frozen=True)
class Entry:
    """One number of the space: ``place`` in the flattened tensor of that name."""

    name: str
    tensor: str
    place: int

    @property
    def scale(self) -> Scale:
        """Its bounds."""
        return SCALES[self.tensor]


class Space:
    """All numbers a search under ``config`` turns, with or without the probe as ``config`` says."""

    def __init__(self, workload: Subject, config: SearchConfig) -> None:
        """
        Raises:
            EosError: a budget nothing reaches.
        """
        self.workload = workload
        # what a question turns would be thousands of numbers more, to which such search is blind
        self.config = config.model_copy(update={"budget_rule": "exact", "steering_rank": 0})
        check(workload, self.config)
        # on the CPU whatever the model is on: these are few numbers, and read one by one
        self.parameters = Parameters(
            self.config, workload.target, workload.shape.hidden, workload.features
        ).requires_grad_(False)
        self.entries = tuple(_entries(self.parameters))
        self.start = self.values()

    def values(self) -> dict[str, float]:
        """What the parameters are now; a value out of bounds at the nearer bound."""
        raw = {name: value.flatten().tolist() for name, value in self.parameters.named_parameters()}
        values = {}
        for entry in self.entries:
            value = entry.scale.read(raw[entry.tensor][entry.place])
            values[entry.name] = min(max(value, entry.scale.low), entry.scale.high)
        return values

    @torch.no_grad()
    def fill(self, values: Mapping[str, float]) -> None:
        """Set the parameters."""
        raw = {name: value.flatten().tolist() for name, value in self.parameters.named_parameters()}
        for entry in self.entries:
            raw[entry.tensor][entry.place] = entry.scale.write(values[entry.name])
        for name, value in self.parameters.named_parameters():
            value.copy_(torch.tensor(raw[name]).view_as(value))

    def operator(self, values: Mapping[str, float], name: str) -> OperatorSpec:
        """What is deployed at this point of the space: the most whole tokens that its shares and the budget allow."""
        self.fill(values)
        parameters, config, workload = self.parameters, self.config, self.workload
        soft = counts_now(parameters, workload, config.budget)
        counts = whole_counts(soft, parameters, config, workload.target, workload.shape, workload.text_tokens)
        return to_operator(parameters, counts, workload.target, name)


def _entries(parameters: Parameters) -> Iterator[Entry]:
    layers, counted = parameters.layers, parameters.mask.flatten().tolist()
    for tensor, value in parameters.named_parameters():
        for place in range(value.numel()):
            if tensor == "spread":
                if parameters.selector == "diverse_topk":
                    yield Entry(tensor, tensor, place)
                continue
            site, at = divmod(place, value.numel() // len(layers))
            if (tensor == "keep" and site == 0) or (tensor == "weights" and not counted[place]):
                continue
            what = {"weights": f".{FEATURES[at]}" if tensor == "weights" else "", "probe": f".{at}"}.get(tensor, "")
            yield Entry(f"{tensor}.{site}{what}", tensor, place)
