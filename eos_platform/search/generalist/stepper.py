"""One step over several places: each brings gradients of its own questions, weighted, to the same parameters.

Legend: b batch, p places.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.parameters import Parameters
from eos_platform.search.step import CURVES, Stepper
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions
from eos_platform.tasks.together import Tell

ANSWERS = len(CURVES) - 1  # curves that are of answers; what follows is of the operator, the same in every place


class PlacesStepper(Stepper):
    """Runs steps on questions of several places.

    Attributes:
        members: a stepper of each, the leading place's first: it also says what the operator costs.
        weight_p: of each place in the loss.
        loss_p: of its questions in the last step.
    """

    def __init__(
        self,
        places: Sequence[Subject],
        encoded: Sequence[EncodedQuestions],
        config: SearchConfig,
        parameters: Parameters,
        cost: SearchCost,
        tell: Tell | None = None,
    ) -> None:
        """``encoded``: the questions of each place; a batch is shared out among them evenly."""
        super().__init__(places[0], config, parameters, encoded[0], cost, tell)
        sizes = [min(len(one), share) for one, share in zip(encoded, even(config.batch_size, len(places)), strict=True)]
        device = parameters.keep.device
        self.whole_b = self.index_b = torch.zeros(sum(sizes), dtype=torch.long, device=device)
        self.at_once = len(self.index_b)
        self.weight_p = torch.full((len(places),), 1 / len(places), device=device)
        self.loss_p = torch.zeros(len(places), device=device)
        self.captures = self.on_gpu and not any(one.synchronises for one in encoded)
        self.members = [
            self._member(place, one, index_b, number)
            for number, (place, one, index_b) in enumerate(zip(places, encoded, self.index_b.split(sizes), strict=True))
        ]

    def _member(self, place: Subject, encoded: EncodedQuestions, index_b: Tensor, number: int) -> Stepper:
        """Of a place; what changes from step to step is shared with this one."""
        one = Stepper(place, self.config, self.parameters, encoded, self.cost, self.tell, self.optimiser)
        one.index_b, one.weight = index_b, self.weight_p[number]
        one.budget, one.temperature, one.multiplier = self.budget, self.temperature, self.multiplier
        one.captures = self.captures
        return one

    def add_gradient(self, hard: bool, candidates: int, leads: bool) -> None:
        """Of all places; a rehearsal, which has put other questions in place of a batch, is of the leading one's."""
        if self.index_b is not self.whole_b:
            super().add_gradient(hard, candidates, leads)
            return
        for number, member in enumerate(self.members):
            member.fixed_counts = self.fixed_counts
            member.at_once, member.checkpointing = self.at_once, self.checkpointing
            member.measured.zero_()
            member.add_gradient(hard, candidates, leads and number == 0)
            self.loss_p[number] = member.measured[0]
            self.measured[:ANSWERS] += self.weight_p[number] * member.measured[:ANSWERS]
            self.measured[ANSWERS:] += member.measured[ANSWERS:]


def even(total: int, parts: int) -> list[int]:
    """``total`` in so many parts, at least one each, the first ones larger."""
    return [max(1, total // parts + (number < total % parts)) for number in range(parts)]
