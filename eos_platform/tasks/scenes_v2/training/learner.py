"""The training step: one pass over a picture and its questions, with the losses that only training has.

Legend: b pictures, n visual tokens, p tokens before the questions, q questions, l tokens a block, s = p + q l, d width,
r rows and c columns of the tokens that see finest, k cells a side of a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eos_platform.tasks.scenes_v2.training.data import BINS, BLOCK, SLOTS
from eos_platform.tasks.scenes_v2.training.families import Family
from eos_platform.tasks.scenes_v2.training.families.base import Size
from eos_platform.tasks.scenes_v2.training.labels import ATTRIBUTES, DENSE
from eos_platform.tasks.scenes_v2.training.packing import packed_mask, register, windowed

LONG = 250  # prefixes from here on are worth an attention of their own


@dataclass
class Layout:
    """Where things are for pictures of one size; tensors on the model's device."""

    prefix_p: Tensor
    visual: Tensor  # places of the visual tokens in the prefix
    position: Tensor  # (1, s), or (axes, 1, s)
    mask: Any  # (1, 1, s, s), or one for each kind of layer
    fine_rc: Tensor
    k: int
    attention: str  # of the decoder


class Learner(nn.Module):
    """A model of some family with the auxiliary heads that only training needs."""

    def __init__(self, model: Any, kin: Family, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.kin, self.tokenizer = model, kin, tokenizer
        config = kin.decoder(model).config
        d = config.hidden_size
        self.k = kin.grid(kin.sizes[0])[1]
        self.heads = nn.ModuleDict({name: nn.Linear(d, self.k**2 * n) for name, n in ATTRIBUTES.items()})
        self.pointers = nn.Linear(d, 4 * BINS)  # row and column of the two places a question may point at
        self.layouts: dict[Size, Layout] = {}
        self.seen: list[Tensor] = []  # what the tapped layer said
        layers = kin.decoder(model).layers
        layers[(2 * len(layers)) // 3 - 1].register_forward_hook(self._tap)

    def _tap(self, module: Any, args: Any, output: Any) -> None:
        self.seen = [output[0] if isinstance(output, tuple) else output]

    def layout(self, size: Size, device: torch.device) -> Layout:
        """Positions and masks for pictures of a size, made once."""
        if size not in self.layouts:
            ids = self.tokenizer(self.kin.prompt(size)).input_ids
            placeholder = self.kin.placeholder({t: self.tokenizer.convert_tokens_to_ids(t) for t in self._names()})
            prefix_p = torch.tensor(ids)
            visual_p = prefix_p == placeholder
            position, after = self.kin.positions(prefix_p, placeholder, size)
            blocks = (after + torch.arange(BLOCK)).repeat(SLOTS)
            position = torch.cat([position, blocks.expand(*position.shape[:-1], -1)], -1)
            mask: Any = packed_mask(visual_p, SLOTS, BLOCK, self.kin.two_way)
            attention = "sdpa"
            if (window := self.kin.window(self.model)) is not None:
                local = windowed(mask, position, window)
                mask = {
                    "full_attention": mask[None, None].to(device),
                    "sliding_attention": local[None, None].to(device),
                }
            else:
                mask = mask[None, None].to(device)
                if len(ids) >= LONG:
                    attention = register(len(ids))
            fine_rc, k = self.kin.grid(size)
            position = position[..., None, :] if position.ndim == 2 else position[None]
            self.layouts[size] = Layout(
                prefix_p.to(device),
                visual_p.nonzero()[:, 0].to(device),
                position.to(device),
                mask,
                fine_rc.to(device),
                k,
                attention,
            )
        return self.layouts[size]

    def _names(self) -> tuple[str, ...]:
        return ("<image>", *self.kin.specials)

    def forward(self, batch: dict[str, Tensor], seeing: bool = False) -> dict[str, Tensor]:
        """``exact`` (b, q); with labels also the losses ``answer``, ``auxiliary`` and ``pointing``.

        ``seeing``: the loss ``auxiliary`` alone, without the decoder.
        """
        pixels = batch["pixels"]
        at = self.layout((pixels.shape[2], pixels.shape[1]), pixels.device)
        b, p = len(pixels), len(at.prefix_p)
        features_bnd = self.kin.features(self.model, pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        if seeing:
            return {"auxiliary": self._auxiliary(features_bnd[:, at.fine_rc.flatten()], batch["cells"], at)}
        decoder = self.kin.decoder(self.model)
        embed = self.model.get_input_embeddings()
        prefix_bpd = embed(at.prefix_p)[None].expand(b, -1, -1)
        x_bsd = torch.cat(
            [prefix_bpd.index_copy(1, at.visual, features_bnd.to(prefix_bpd.dtype)), embed(batch["ids"].view(b, -1))], 1
        )
        decoder.config._attn_implementation = at.attention
        position = at.position.expand(*at.position.shape[:-2], b, -1)
        hidden_bsd = decoder(
            inputs_embeds=x_bsd, attention_mask=at.mask, position_ids=position, use_cache=False
        ).last_hidden_state
        decoder.config._attn_implementation = "sdpa"
        x_bqld = hidden_bsd[:, p:].reshape(b, SLOTS, BLOCK, -1)[:, :, :-1]
        logits_bqlv = self.model.lm_head(x_bqld).float()
        target, wanted = batch["ids"][:, :, 1:], batch["answers"][:, :, 1:]
        has_question = batch["skills"] >= 0
        losses = {"exact": ((logits_bqlv.argmax(-1) == target) | ~wanted).all(-1) & has_question}
        if "cells" in batch:
            loss = F.cross_entropy(logits_bqlv.flatten(0, 2), target.flatten(), reduction="none").view_as(target)
            per_question = (loss * wanted).sum(-1) / wanted.sum(-1).clamp(min=1)
            losses["answer"] = (per_question * has_question).sum() / has_question.sum().clamp(min=1)
            losses["auxiliary"] = self._auxiliary(features_bnd[:, at.fine_rc.flatten()], batch["cells"], at)
            losses["pointing"] = self._pointing(self.seen[0][:, p:], batch)
        return losses

    def _pointing(self, x_bsd: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Two thirds up the decoder, the last word of a question must know where the things it names are."""
        b = len(x_bsd)
        last_bq = batch["answers"].int().argmax(-1) - 1  # the token before the answer
        x_bqld = x_bsd.reshape(b, SLOTS, BLOCK, -1)
        x_bqd = x_bqld.gather(2, last_bq.clamp(min=0)[..., None, None].expand(-1, -1, 1, x_bqld.shape[-1])).squeeze(2)
        logits = self.pointers(x_bqd).float().view(-1, BINS)
        target = batch["places"].flatten()
        loss = F.cross_entropy(logits, target.clamp(min=0), reduction="none")
        return (loss * (target >= 0)).sum() / (target >= 0).sum().clamp(min=1)

    def _auxiliary(self, fine_bnd: Tensor, cells: Tensor, at: Layout) -> Tensor:
        """What lies under each cell of 14 pixels; a token of k x k cells tells of each of them."""
        b, k = len(cells), at.k
        rows, columns = at.fine_rc.shape
        labels = cells.view(b, rows, k, columns, k, -1).permute(0, 1, 3, 2, 4, 5).reshape(b, rows * columns, k * k, -1)
        total = fine_bnd.new_zeros((), dtype=torch.float32)
        for number, (name, head) in enumerate(self.heads.items()):
            target = labels[..., number].long().flatten()
            logits = head(fine_bnd).float().view(-1, ATTRIBUTES[name])
            loss = F.cross_entropy(logits, target, reduction="none")
            # most cells show no object: without less weight there, "nothing" is all the heads would learn
            rare = torch.ones_like(loss) if name in DENSE else (target > 0) * 0.9 + 0.1
            total = total + (loss * rare).sum() / rare.sum()
        return total


def compile_layers(model: Any, kin: Family) -> None:
    """Compile the layers of tower and decoder; those of a kind share the compiled code."""
    torch._dynamo.config.recompile_limit = 64
    for layer in kin.layers(model):
        layer.forward = torch.compile(layer.forward, dynamic=False)


def uncompile(model: Any, kin: Family) -> None:
    """Take that back: what is saved or cannot be compiled runs as it is."""
    for layer in kin.layers(model):
        layer.__dict__.pop("forward", None)
