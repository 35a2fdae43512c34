"""On which visual tokens a model's answers depend: one pass with gradients over prompts, no labels.

For each prompt, the margin of the model's own most likely first answer token over all others (its logit less the
log-sum-exp of theirs, which unlike a probability does not saturate) is differentiated with respect to the visual tokens
that enter a layer. The log of a token's gradient norm says how much the answer depends on it.

Legend: b batch, s sequence, n visual tokens of a unit, u units (pictures, tiles, frames), q questions, d width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.analysis.transfer.calibration.prompts import Prompts
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.attention.text_queries import question
from eos_platform.models.runtime.layout import Layout
from eos_platform.operators.tokens import unit
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import Batch

BATCH = 32
LEAST = 1e-6  # of the mean gradient: what a token that the answer does not read counts as
MOST_NUMBERS = 2**28  # of all tokens kept; wide models are asked fewer questions


@dataclass(frozen=True)
class Piece:
    """Units of one size, of some questions.

    Attributes:
        tokens_und: unit visual tokens.
        pull_un: log gradient norm of each, brought to mean 0 and spread 1 within its unit.
        question_u: which question each unit belongs to.
    """

    tokens_und: Tensor
    pull_un: Tensor
    question_u: Tensor


@dataclass(frozen=True)
class Dependence:
    """What answers depend on.

    Attributes:
        pieces: by layer.
        question_qd: mean direction of each prompt's text, as a site has it.
    """

    pieces: dict[int, list[Piece]]
    question_qd: Tensor


def dependence_of(subject: Subject, layers: Collection[int], prompts: Prompts) -> Dependence:
    """Ask the unreduced model the prompts that directions are made of.

    Args:
        subject: the model and its questions.
        layers: before which visual tokens are taken.
        prompts: of its search split.
    """
    parts = parts_of(subject.model)
    wanted = max(32, MOST_NUMBERS // (subject.target.tokens * subject.shape.hidden * max(1, len(layers))))
    pieces: dict[int, list[Piece]] = {layer: [] for layer in layers}
    asked, done = list[Tensor](), 0
    for index_b in prompts.portions(prompts.made_of, BATCH):
        if done >= wanted:
            break
        batch = prompts.encoded.batch(index_b)
        with _entering(parts.layers, layers) as states:
            gradients = _gradients(subject.model, batch, states)
        for layer, gradient_bsd in gradients.items():
            pieces[layer] += _pieces(states[layer], gradient_bsd, batch.layout, done, subject.target.grid)
        asked.append(question(batch.x_bsd.detach(), batch.layout.text_bs).float())
        done += len(index_b)
    return Dependence(pieces, torch.cat(asked))


def _gradients(model: Any, batch: Batch, states: dict[int, Tensor]) -> dict[int, Tensor]:
    """Of the margin of each prompt's first answer token, by layer (b, s, d)."""
    adapter = adapter_of(model)
    with torch.enable_grad():
        hidden_bsd = adapter.forward(batch.prefill)
        place_b11 = batch.place_ba[:, :1, None].to(hidden_bsd.device)
        logits_bv = adapter.logits(hidden_bsd.gather(1, place_b11.expand(-1, -1, hidden_bsd.shape[-1])))[:, 0].float()
        best_b1 = logits_bv.argmax(-1, keepdim=True)
        others_b = logits_bv.scatter(1, best_b1, float("-inf")).logsumexp(-1)
        margin = (logits_bv.gather(1, best_b1)[:, 0] - others_b).sum()
        found = torch.autograd.grad(margin, list(states.values()))
    return dict(zip(states, found, strict=True))


@contextmanager
def _entering(modules: Sequence[nn.Module], layers: Collection[int]) -> Iterator[dict[int, Tensor]]:
    """Hidden states as they enter some of the layers, by layer, ready to be differentiated with respect to."""
    states: dict[int, Tensor] = {}

    def note(layer: int, call: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x_bsd = call[0] if call else named["hidden_states"]
        if not x_bsd.requires_grad:
            x_bsd = x_bsd.detach().requires_grad_(True)
        states[layer] = x_bsd
        return ((x_bsd, *call[1:]), named) if call else (call, {**named, "hidden_states": x_bsd})

    handles = [
        modules[layer].register_forward_pre_hook(
            lambda _, call, named, layer=layer: note(layer, call, named), with_kwargs=True
        )
        for layer in sorted(layers)
    ]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _pieces(x_bsd: Tensor, gradient_bsd: Tensor, layout: Layout, before: int, grid: tuple[int, int]) -> list[Piece]:
    """A batch's tokens, unit by unit."""
    at_bnd = layout.visual_bn[:, :, None].to(x_bsd.device).expand(-1, -1, x_bsd.shape[2])
    tokens_bnd = unit(x_bsd.detach().gather(1, at_bnd)).float()
    norm_bn = gradient_bsd.gather(1, at_bnd).float().norm(dim=-1)
    number_b = before + torch.arange(len(x_bsd), device=x_bsd.device)
    pieces, start = [], 0
    for (rows, columns), many in layout.units or ((grid, 1),):
        size = rows * columns
        here = slice(start, start + many * size)
        norm_un = norm_bn[:, here].reshape(-1, size)
        log_un = (norm_un + LEAST * norm_un.mean(1, keepdim=True).clamp_min(1e-30)).log()
        log_un = log_un - log_un.mean(1, keepdim=True)
        pull_un = log_un / log_un.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        pieces.append(Piece(tokens_bnd[:, here].unflatten(1, (many, size)).flatten(0, 1), pull_un,
                            number_b.repeat_interleave(many)))  # fmt: skip
        start += many * size
    return pieces
