"""How far a deployed operator's answers are from the unreduced model's, on prompts without labels.

Legend: b batch, q questions, v vocabulary, d width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from eos_platform.analysis.transfer.calibration.prompts import Prompts
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import Batch, answer_states, at_once


class Answers:
    """Some prompts of the search split, and the distributions of the first answer token that the model gives."""

    def __init__(self, subject: Subject, prompts: Prompts) -> None:
        """Those that settings are chosen by."""
        self.subject, self.encoded = subject, prompts.encoded
        self.portions = list(prompts.portions(prompts.chosen_by, at_once(subject.model)))
        self.asked = len(prompts.chosen_by)  # prompts run so far, with repetition
        self.unreduced = [self._log_shares(self.encoded.batch(index_b)) for index_b in self.portions]

    @torch.no_grad()
    def divergence(self, operator: OperatorSpec) -> Tensor:
        """KL divergence (nats) of the operator's next-token distribution from the unreduced model's, by prompt (q,)."""
        encoded, found = self.encoded.encoded_with(operator), list[Tensor]()
        for index_b, wise_bv in zip(self.portions, self.unreduced, strict=True):
            batch = encoded.batch(index_b)
            with reducing(self.subject.model, operator, batch.layout):
                share_bv = self._log_shares(batch)
            found.append(F.kl_div(share_bv, wise_bv, reduction="none", log_target=True).sum(-1).double().cpu())
        self.asked += sum(map(len, found))
        return torch.cat(found)

    @torch.no_grad()
    def _log_shares(self, batch: Batch) -> Tensor:
        """Log probabilities of the token after the prompt (b, v)."""
        state_bd = answer_states(self.subject.model, batch)[:, :1]
        return adapter_of(self.subject.model).logits(state_bd)[:, 0].float().log_softmax(-1)
