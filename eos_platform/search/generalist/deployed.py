"""A generalist's parameters as operators: deployed in every place, and judged over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import Progress
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.deployed import Deployed
from eos_platform.search.objective import losses
from eos_platform.search.parameters import Parameters
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions


class PlacesDeployed(Deployed):
    """The parameters of one search over several places.

    Attributes:
        members: the same seen from each place.
        unreduced: the loss of each place's unreduced model, once it was asked.
    """

    def __init__(
        self,
        places: Sequence[Subject],
        encoded: Sequence[EncodedQuestions],
        config: SearchConfig,
        parameters: Parameters,
        progress: Progress,
        cost: SearchCost,
    ) -> None:
        super().__init__(places[0], config, parameters, progress, encoded[0], cost)
        self.members = [
            Deployed(place, config, parameters, progress, one, cost) for place, one in zip(places, encoded, strict=True)
        ]
        self.unreduced = [0.0] * len(places)

    def ask(self, teachers: Sequence[Tensor]) -> None:
        """Take the unreduced models' answer states, and what they lose as they are."""
        for number, (member, teacher_qad) in enumerate(zip(self.members, teachers, strict=True)):
            member.teacher_qad = teacher_qad
            self.unreduced[number] = self.config.task_weight * unreduced_loss(member)

    def loss(self, counts: tuple[int, ...]) -> float:
        """What reduction costs in answers, over the places as the search has it: their mean, or the worst."""
        added = [member.loss(counts) - whole for member, whole in zip(self.members, self.unreduced, strict=True)]
        return max(added) if self.config.generalist == "worst" else sum(added) / len(added)

    def operator(self) -> OperatorSpec:
        """What would be deployed now, with the places it is for."""
        operator = super().operator()
        places = [{"model": one.workload.name, "task": one.workload.task} for one in self.members]
        return operator.model_copy(update={"provenance": {**operator.provenance, "places": places}})

    def relaxed_accuracy(self) -> float:
        """The mean over the places."""
        return sum(member.relaxed_accuracy() for member in self.members) / len(self.members)


@torch.no_grad()
def unreduced_loss(member: Deployed) -> float:
    """Cross entropy of the unreduced model's answers to the questions that operators are compared on."""
    adapter, total, answers = member.workload.adapter, 0.0, 0.0
    samples = member.progress.samples
    for index_b in member.tried_portions():
        batch = member.encoded.batch(index_b)
        teacher_bad = member.teacher_qad[batch.index_b]
        weight = float(batch.wanted_ba.sum())
        total += weight * float(losses(adapter, teacher_bad, teacher_bad, batch)["task_loss"])
        answers += weight
    member.progress.samples = samples  # nothing was run again
    return total / answers
