"""One search over several places: from frozen models, their tasks and one budget to one operator for all of them.

    result = generalist([load_workload("a"), load_workload("b")], SearchConfig(budget=0.2, generalist="worst"))
    result.places  # accuracy in each

A place is a model on a task. Places share the parameters of one search: every step takes questions of each, and their
gradients add up. With ``generalist="mean"`` all places weigh the same. With ``"worst"`` the place that loses most by
the reduction gets the most weight: after every step its weight grows by the factor exp(rate * its loss / the mean of
all places' losses), as in distributionally robust optimisation over groups (Sagawa et al. 2020, "Distributionally
Robust Neural Networks for Group Shifts"), and deployed operators are compared by the worst place too. A place's loss is
counted from that of its unreduced model, so that a task that is hard anyway is not taken for one that is hurt.

The cost is that of the place with the longest prompts, where a token saved saves least: the budget holds in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.generalist.deployed import PlacesDeployed
from eos_platform.search.generalist.places import check_places, features_of, name_of
from eos_platform.search.generalist.stepper import PlacesStepper
from eos_platform.search.objective import teacher_states
from eos_platform.search.parameters import Structure
from eos_platform.search.result import SearchResult
from eos_platform.search.run import ALL, Report, Searching
from eos_platform.search.scale.resources import Resources
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import Evaluation, evaluate
from eos_platform.tasks.together import Tell

RATE = 0.05  # by which a place that loses as much as the mean gains in log weight, each step
LEAST = 1e-6  # of a mean loss, to be divided by


def generalist(
    places: Sequence[Subject],
    config: SearchConfig,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    resources: Resources | None = None,
    tell: Tell | None = None,
) -> SearchResult:
    """Search one operator for all ``places``, from the one start that ``config`` names.

    Args:
        places: models of one shape, and their tasks; those that are one model object share its weights, and learned
            directions are searched only where all are.
        config, report, checkpoint, resources, tell: see ``search``.

    Returns:
        ``accuracy`` is the mean over the places, ``places`` has each; the compute ratio is of the longest prompts.

    Raises:
        EosError: as ``search``; or places that no one operator fits.
    """
    resources = resources or ALL
    config = check_places(places, config)
    for place in places:
        resources.limit(place.model)
    return PlacesSearching(places, config, report, checkpoint, resources, tell).run()


class PlacesSearching(Searching):
    """A search over several places."""

    def __init__(
        self,
        places: Sequence[Subject],
        config: SearchConfig,
        report: Report | None = None,
        folder: Path | None = None,
        resources: Resources = ALL,
        tell: Tell | None = None,
    ) -> None:
        self.told = tuple(places)  # in the order they were named
        self.places = tuple(sorted(places, key=lambda place: -place.text_tokens))
        self.questions = [place.encoded("search", config.search_questions) for place in self.places]
        super().__init__(self.places[0], config, report, folder, {}, resources=resources, tell=tell)

    @property
    def subject(self) -> str:
        """What is searched, as its saved state names it."""
        return " and ".join(map(name_of, self.told))

    def features(self) -> tuple[str, ...]:
        """What tokens can be weighed by in every place."""
        return features_of(self.places)

    def mean_question(self) -> Tensor:
        """The mean over the places."""
        return torch.stack([one.mean_question() for one in self.questions]).mean(0)

    def prepare(self, structure: Structure) -> None:
        """Nothing: starts of the search's own read nothing in the vision tower."""

    def new_stepper(self, tell: Tell | None) -> PlacesStepper:
        return PlacesStepper(self.places, self.questions, self.config, self.parameters, self.cost, tell)

    def new_deployed(self) -> PlacesDeployed:
        return PlacesDeployed(self.places, self.questions, self.config, self.parameters, self.progress, self.cost)

    def ask_teacher(self) -> None:
        """Have the unreduced models answer."""
        assert isinstance(self.stepper, PlacesStepper)
        assert isinstance(self.deployed, PlacesDeployed)
        teachers = [teacher_states(place.model, one) for place, one in zip(self.places, self.questions, strict=True)]
        for member, teacher_qad in zip(self.stepper.members, teachers, strict=True):
            member.teacher_qad = teacher_qad
        self.stepper.teacher_qad = self.deployed.teacher_qad = teachers[0]
        self.deployed.ask(teachers)
        if self.progress.shares is not None:
            self.stepper.weight_p.copy_(torch.tensor(self.progress.shares))

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Numbers of each place's questions, one place after the other."""
        assert isinstance(self.stepper, PlacesStepper)
        return torch.cat([torch.from_numpy(one.encoded.draw(rng, len(one.index_b))) for one in self.stepper.members])

    def step(self) -> None:
        """One step; then each place's weight follows what it lost."""
        super().step()
        assert isinstance(self.stepper, PlacesStepper)
        assert isinstance(self.deployed, PlacesDeployed)
        lost = [loss - whole for loss, whole in zip(self.stepper.loss_p.tolist(), self.deployed.unreduced, strict=True)]
        weights = self.stepper.weight_p.tolist()
        for place, one, weight in zip(self.places, lost, weights, strict=True):
            if math.isfinite(one):
                self.curves[f"lost/{name_of(place)}"] = one
            self.curves[f"weight/{name_of(place)}"] = weight
        if self.config.generalist == "worst" and all(map(math.isfinite, lost)):
            self.progress.shares = reweighted(weights, lost)
            self.stepper.weight_p.copy_(torch.tensor(self.progress.shares))

    def evaluation(self, operator: OperatorSpec) -> Evaluation:
        """Of validation questions of every place, groups by place."""
        self.found = {
            name_of(place): evaluate(place, operator, "validation", self.config.eval_questions) for place in self.told
        }
        skills = [f"{name}: {skill}" for name, one in self.found.items() for skill in one.skills]
        scores = np.concatenate([one.scores for one in self.found.values()])
        return Evaluation(scores, tuple(skills), partial(dict, {}))

    def run(self) -> SearchResult:
        """All steps that are left, and what came of it, in each place too."""
        result = super().run()
        places = {name: one.accuracy for name, one in self.found.items()}
        mean = sum(places.values()) / len(places)
        told = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in places.items())
        return replace(
            result, accuracy=mean, places=places, remarks=(f"in each place, deployed: {told}", *result.remarks)
        )


def reweighted(weights: Sequence[float], lost: Sequence[float]) -> tuple[float, ...]:
    """The weights (places,) after a step in which places lost so much, summing up to 1."""
    mean = max(sum(map(abs, lost)) / len(lost), LEAST)
    grown = [weight * math.exp(RATE * one / mean) for weight, one in zip(weights, lost, strict=True)]
    return tuple(one / sum(grown) for one in grown)
