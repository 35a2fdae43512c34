"""A learned direction carried into another model's hidden space: not the space is mapped, but what the direction says.

Both models see the same pictures. What the direction says of each token of the one (its cosine, times its length) is
regressed on the unit tokens of the other, in closed form (ridge); where a question turns the direction, each of its
readings and each direction that a reading adds is carried likewise. Questions and pictures are those of the new place,
from its search split.

Legend: q questions, n visual tokens, d width, k directions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.attention.text_queries import question
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering
from eos_platform.operators.tokens import unit
from eos_platform.tasks.base import Subject

QUESTIONS = 256  # of the search split
RIDGE = 1e-2  # of the mean variance of a direction
BATCH = 16
ALIKE = 8  # questions by which two models' are known to be the same


@dataclass(frozen=True)
class States:
    """What a model's sites would see, with nothing removed.

    Attributes:
        grid: of the tokens.
        tokens: by layer, unit visual tokens (q, n, d).
        question_qd: mean direction of each prompt's text.
    """

    grid: tuple[int, int]
    tokens: dict[int, Tensor]
    question_qd: Tensor


@torch.no_grad()
def states_of(subject: Subject, layers: Collection[int], questions: int = QUESTIONS) -> States:
    """Visual tokens as they enter ``layers``, of the first questions of the search split.

    Raises:
        EosError: pictures there differ in size.
    """
    parts, adapter = parts_of(subject.model), adapter_of(subject.model)
    encoded = subject.few("search", questions)
    rows, columns = subject.target.grid
    tokens: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    asked: list[Tensor] = []
    for batch in encoded.batches(BATCH):
        if batch.layout.visual_bn.shape[1] != rows * columns:
            raise EosError(f"{subject.name}: pictures of several sizes; directions are carried on one")
        with _entering(parts.layers, layers, batch.layout.visual_bn, tokens):
            adapter.forward(batch.prefill)
        asked.append(question(batch.x_bsd, batch.layout.text_bs).float().cpu())
    return States((rows, columns), {layer: torch.cat(some) for layer, some in tokens.items()}, torch.cat(asked))


@contextmanager
def _entering(
    modules: Sequence[nn.Module], layers: Collection[int], visual_bn: Tensor, into: dict[int, list[Tensor]]
) -> Iterator[None]:
    """Notes the unit visual tokens that enter some of the layers."""

    def note(layer: int, call: tuple[Any, ...], named: dict[str, Any]) -> None:
        x_bsd = call[0] if call else named["hidden_states"]
        into[layer].append(unit(x_bsd.gather(1, visual_bn[:, :, None].expand(-1, -1, x_bsd.shape[2]))).float().cpu())

    handles = [
        modules[layer].register_forward_pre_hook(
            lambda _, call, named, layer=layer: note(layer, call, named), with_kwargs=True
        )
        for layer in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def carried(operator: OperatorSpec, fitted: OperatorSpec, old: Subject, new: Subject) -> OperatorSpec:
    """``fitted`` with the learned directions of ``operator``.

    Args:
        operator: found on ``old``'s model.
        fitted: what ``rescale`` made of it for ``new``'s, site by site.
        old: the model it was found on, with the questions of ``new``.
        new: where it is to be used.

    Raises:
        EosError: there is no direction, or the two models are not asked the same questions.
    """
    pairs = [
        (before, after)
        for before, after in zip(operator.decoder_sites, fitted.decoder_sites, strict=True)
        if before.probe and not after.probe
    ]
    if not pairs:
        stay = any(site.probe for site in fitted.decoder_sites)
        why = "its learned directions stay: the model is the same" if stay else "no learned direction to carry"
        raise EosError(f"operator '{operator.name}': {why}")
    _check_same(old, new)
    seen = states_of(old, sorted({before.layer for before, _ in pairs}))
    there = states_of(new, sorted({after.layer for _, after in pairs}))
    made = {id(after): _site(before, after, seen, there) for before, after in pairs}
    sites = tuple(made.get(id(site), site) for site in fitted.sites)
    return type(fitted).model_validate({**fitted.model_dump(), "sites": sites})


def _check_same(old: Subject, new: Subject) -> None:
    first, second = (subject.few("search", ALIKE) for subject in (old, new))
    for number in range(ALIKE):
        one, other = first.example(number), second.example(number)
        if (one.question, one.answer) != (other.question, other.answer):
            raise EosError(f"'{old.name}' and '{new.name}' are not asked the same questions of {new.task}")


def _site(before: SiteSpec, after: SiteSpec, seen: States, there: States) -> SiteSpec:
    directions_kd = torch.tensor([before.probe])
    if before.steering is not None:
        text_kd, visual_kd = before.steering.tensors()
        directions_kd = torch.cat([directions_kd, visual_kd])
    said_qnk = resampled(seen.tokens[before.layer] @ directions_kd.mT, seen.grid, there.grid)
    made_dk = ridge(there.tokens[after.layer], said_qnk)
    probe_d, steering = made_dk[:, 0], None
    if before.steering is not None:
        reading_qk = seen.question_qd @ text_kd.mT
        text_dk = ridge(there.question_qd[None], reading_qk[None])
        # what the regression leaves on average turns the direction for every question alike
        rest_k = (reading_qk - there.question_qd @ text_dk).mean(0)
        probe_d = probe_d + made_dk[:, 1:] @ rest_k
        steering = Steering.of(text_dk.mT.contiguous(), made_dk[:, 1:].mT.contiguous())
    probe = tuple(float(f"{value:.5g}") for value in probe_d.tolist())
    return SiteSpec.model_validate({**after.model_dump(), "probe": probe, "steering": steering})


def resampled(values_qnk: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """What is known of the tokens of one grid, of those of another (bilinear)."""
    if old == new:
        return values_qnk
    maps = values_qnk.mT.unflatten(2, old)
    return F.interpolate(maps, new, mode="bilinear", align_corners=False).flatten(2).mT


def ridge(x_qnd: Tensor, y_qnk: Tensor) -> Tensor:
    """Directions (d, k) along which tokens say what ``y_qnk`` does, up to a constant of each picture."""
    x_md = (x_qnd - x_qnd.mean(1, keepdim=True)).flatten(0, 1).double()
    y_mk = (y_qnk - y_qnk.mean(1, keepdim=True)).flatten(0, 1).double()
    gram_dd = x_md.mT @ x_md
    gram_dd.diagonal().add_(RIDGE * gram_dd.diagonal().mean().clamp_min(1e-12))
    return torch.linalg.solve(gram_dd, x_md.mT @ y_mk).float()
