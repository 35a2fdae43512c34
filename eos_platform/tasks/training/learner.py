"""The training step: one pass over a picture and all its questions, each question seeing the picture and itself.

Legend: b pictures, n patches, q questions, l tokens a question block, s = 1 + n + q l, d width, v vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eos_platform.tasks.training.labels import ATTRIBUTES, WHOLE


class Learner(nn.Module):
    """A LLaVA with the auxiliary heads that only training needs."""

    def __init__(self, model: Any, grid: int, questions: int, block: int) -> None:
        super().__init__()
        self.model, self.n, self.q, self.l = model, grid * grid, questions, block
        self.bos = model.config.text_config.bos_token_id
        vision, text = model.config.vision_config.hidden_size, model.config.text_config.hidden_size
        self.mask_ss: Tensor
        self.position_s: Tensor
        self.heads = nn.ModuleDict({name: nn.Linear(text, classes) for name, classes in ATTRIBUTES.items()})
        self.whole = nn.Linear(vision, WHOLE)
        self.pointers = nn.Linear(text, 4 * grid)  # row and column of the two places a question may point at
        self.grid, self.point_after = grid, (2 * model.config.text_config.num_hidden_layers) // 3
        mask_ss, position_s = packed_layout(self.n, questions, block)
        self.register_buffer("mask_ss", mask_ss, persistent=False)
        self.register_buffer("position_s", position_s, persistent=False)
        tower = model.model.vision_tower
        self.tower: list[Any] = [getattr(tower, "vision_model", tower)]  # a list: not a second child of this module
        self.decoder: list[Any] = [model.model.language_model]
        self.tower[0].post_layernorm.requires_grad_(False)  # LLaVA never uses it

    def compile_layers(self) -> None:
        """Compile one vision and one decoder layer; all layers of a kind share the compiled code."""
        for layer in [*self.tower[0].encoder.layers, *self.decoder[0].layers]:
            layer.compile()

    def see(self, pixels_bhwc: Tensor) -> tuple[Tensor, Tensor]:
        """Projected patch features (b, n, d) and the class token (b, vision width)."""
        tower = self.tower[0]
        x = pixels_bhwc.permute(0, 3, 1, 2).float() / 127.5 - 1
        x = tower.pre_layrnorm(tower.embeddings(x))
        for layer in tower.encoder.layers:
            x = layer(x, attention_mask=None)
            x = x[0] if isinstance(x, tuple) else x
        return self.model.model.multi_modal_projector(x[:, 1:]), x[:, 0]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses (answer, auxiliary, pointing) and which questions were answered exactly, (b, q)."""
        seen_bnd, class_bd = self.see(batch["pixels"])
        decoder = self.decoder[0]
        b = len(seen_bnd)
        ids_bs = batch["ids"].view(b, -1)
        bos_b1 = ids_bs.new_full((b, 1), self.bos)
        words = decoder.embed_tokens(torch.cat([bos_b1, ids_bs], 1))
        x = torch.cat([words[:, :1], seen_bnd.to(words.dtype), words[:, 1:]], 1)
        position = self.position_s[None].expand(b, -1)
        rotary = decoder.rotary_emb(x, position_ids=position)
        mask = self.mask_ss[None, None]
        for number, layer in enumerate(decoder.layers):
            if number == self.point_after:
                pointing = self._pointing(x[:, 1 + self.n :], batch)
            x = layer(x, attention_mask=mask, position_ids=position, position_embeddings=rotary)
            x = x[0] if isinstance(x, tuple) else x
        x = decoder.norm(x[:, 1 + self.n :]).view(b, self.q, self.l, -1)
        logits = self.model.lm_head(x[:, :, :-1]).float()
        target, wanted = batch["ids"][:, :, 1:], batch["answers"][:, :, 1:]
        loss = F.cross_entropy(logits.flatten(0, 2), target.flatten(), reduction="none").view_as(target)
        per_question = (loss * wanted).sum(-1) / wanted.sum(-1).clamp(min=1)
        has_question = batch["skills"] >= 0
        exact = ((logits.argmax(-1) == target) | ~wanted).all(-1) & has_question
        return {
            "answer": (per_question * has_question).sum() / has_question.sum(),
            "auxiliary": self._auxiliary(seen_bnd, class_bd, batch),
            "pointing": pointing,
            "exact": exact,
        }

    def _pointing(self, x_bsd: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Two thirds up the decoder, the last word of a question must know where the objects it names are.

        Without this, the spatial relation of two objects was still guessed after a million pictures.
        """
        b = len(x_bsd)
        last_bq = batch["answers"].int().argmax(-1) - 1  # the token before the answer
        x_bqld = x_bsd.view(b, self.q, self.l, -1)
        x_bqd = x_bqld.gather(2, last_bq.clamp(min=0)[..., None, None].expand(-1, -1, 1, x_bqld.shape[-1])).squeeze(2)
        logits = self.pointers(x_bqd).float().view(-1, self.grid)
        target = batch["places"].flatten()
        loss = F.cross_entropy(logits, target.clamp(min=0), reduction="none")
        return (loss * (target >= 0)).sum() / (target >= 0).sum().clamp(min=1)

    def _auxiliary(self, seen_bnd: Tensor, class_bd: Tensor, batch: dict[str, Tensor]) -> Tensor:
        labels = batch["patches"].long()
        total = F.binary_cross_entropy_with_logits(self.whole(class_bd).float(), batch["whole"])
        for column, (name, head) in enumerate(self.heads.items()):
            target = labels[..., column]
            # most patches show no object: without less weight there, "nothing" is all the heads would learn
            rare = (
                target.new_ones((), dtype=torch.float32)
                if name in ("row", "column", "ground")
                else (target > 0) * 0.9 + 0.1
            )
            loss = F.cross_entropy(head(seen_bnd).float().flatten(0, 1), target.flatten(), reduction="none")
            total = total + (loss.view_as(target) * rare).sum() / (rare.sum() if rare.ndim else target.numel())
        return total


def packed_layout(n: int, questions: int, block: int) -> tuple[Tensor, Tensor]:
    """Who sees whom (s, s) and the positions (s,): each block sees <s>, the picture and itself, as if it were alone."""
    s = 1 + n + questions * block
    owner = torch.full((s,), -1)
    owner[1 + n :] = torch.arange(questions).repeat_interleave(block)
    causal = torch.ones(s, s).tril().bool()
    mask = causal & ((owner[None] == -1) | (owner[:, None] == owner[None]))
    position = torch.cat([torch.arange(1 + n), (1 + n + torch.arange(block)).repeat(questions)])
    return mask, position
