"""A direction, and how a question turns it, that says of each token how much an answer depends on it: in closed form.

What a site adds to the score of a token x (of length 1) under a question q is (p + sum_k v_k (t_k . q)) . x. The t_k
begin as the principal directions in which questions differ; p and the v_k are then a ridge regression of the tokens'
``pull`` on the products of readings and tokens, up to a constant of each unit, and a singular value decomposition
leaves as many readings as wanted.

Legend: u units, n tokens of a unit, q questions, d width, m of its principal directions, k readings (the first is 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eos_platform.analysis.transfer.calibration.dependence import Piece
from eos_platform.operators.spec import Steering

READINGS = 16  # of a question, before they are merged to the rank wanted
WIDTH = 256  # principal directions of tokens that are regressed on
RIDGE = 1e-2  # of the mean variance of a product
DISTINCT = 1e-4  # of the largest spread: questions do not differ along directions of less


@dataclass(frozen=True)
class Reading:
    """What a site is to learn.

    Attributes:
        probe_d: the direction without a question.
        steering: how a question turns it; None where questions do not differ.
        explained: share of the variance of ``pull`` that it explains on the prompts it is made of.
    """

    probe_d: Tensor
    steering: Steering | None
    explained: float


@torch.no_grad()
def reading_of(pieces: Sequence[Piece], question_qd: Tensor, rank: int) -> Reading:
    """The best direction of steering ``rank``; its products have spread 1 within a unit on average."""
    device = question_qd.device if question_qd.device.type == "cuda" else torch.device("cpu")
    centred = [
        (one.tokens_und - one.tokens_und.mean(1, keepdim=True)).to(device, torch.float64) for one in pieces
    ]  # what is the same for a whole unit changes no order
    pulls = [one.pull_un.to(device, torch.float64) for one in pieces]
    owners = [one.question_u.to(device) for one in pieces]
    basis_dm = _basis(centred)
    read_qk, text_kd, mean_d = _readings(question_qd.to(device, torch.float64), READINGS if rank else 0)
    gram_qmm, cross_qm = _by_question(centred, pulls, owners, basis_dm, len(question_qd))
    visual_km = _ridge(read_qk, gram_qmm, cross_qm)
    fitted = torch.einsum("qk,km->qm", read_qk, visual_km)
    total = sum(float(pull_un.square().sum()) for pull_un in pulls)
    said = float(torch.einsum("qm,qmn,qn->", fitted, gram_qmm, fitted))
    explained = (2 * float((fitted * cross_qm).sum()) - said) / max(total, 1e-12)
    tokens = sum(pull_un.numel() for pull_un in pulls)
    visual_kd = visual_km @ basis_dm.mT / max((said / tokens) ** 0.5, 1e-12)
    probe_d, turn_kd = visual_kd[0], visual_kd[1:]
    if not len(turn_kd):
        return Reading(probe_d.float().cpu(), None, explained)
    # readings are uncorrelated and of spread 1: the largest singular values are what turns most
    left_kr, size_r, right_rd = torch.linalg.svd(turn_kd, full_matrices=False)
    text_rd, turn_rd = left_kr[:, :rank].mT @ text_kd, size_r[:rank, None] * right_rd[:rank]
    probe_d = probe_d - (text_rd @ mean_d) @ turn_rd
    even_r1 = (turn_rd.norm(dim=1, keepdim=True) / text_rd.norm(dim=1, keepdim=True).clamp_min(1e-12)).sqrt()
    even_r1 = even_r1.clamp_min(1e-6)  # float16 holds both matrices best at one size
    steering = Steering.of((text_rd * even_r1).float().cpu(), (turn_rd / even_r1).float().cpu())
    return Reading(probe_d.float().cpu(), steering, explained)


def _basis(centred: Sequence[Tensor]) -> Tensor:
    """Principal directions of tokens (d, m); all of a narrow model's."""
    width = centred[0].shape[2]
    if width <= WIDTH:
        return torch.eye(width, dtype=torch.float64, device=centred[0].device)
    spread_dd = torch.zeros(width, width, dtype=torch.float64, device=centred[0].device)
    for x_und in centred:
        spread_dd += x_und.flatten(0, 1).mT @ x_und.flatten(0, 1)
    return torch.linalg.eigh(spread_dd).eigenvectors[:, -WIDTH:]


def _readings(question_qd: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is read of each question (q, 1 + k), the first being 1; the k rows (k, d) that read it; the mean question.

    The readings of the questions given have mean 0 and spread 1, and are uncorrelated.
    """
    mean_d = question_qd.mean(0)
    _, size_k, row_kd = torch.linalg.svd(question_qd - mean_d, full_matrices=False)
    count = min(most, len(question_qd) // 8, int((size_k > DISTINCT * size_k[:1].clamp_min(1e-9)).sum()))
    text_kd = row_kd[:count] * (len(question_qd) ** 0.5 / size_k[:count, None])
    ones_q1 = torch.ones_like(question_qd[:, :1])
    return torch.cat([ones_q1, (question_qd - mean_d) @ text_kd.mT], 1), text_kd, mean_d


def _by_question(
    centred: Sequence[Tensor], pulls: Sequence[Tensor], owners: Sequence[Tensor], basis_dm: Tensor, questions: int
) -> tuple[Tensor, Tensor]:
    """Of each question's tokens, the products with each other (q, m, m) and with what is to be said (q, m)."""
    width = basis_dm.shape[1]
    gram_qmm = basis_dm.new_zeros(questions, width, width)
    cross_qm = basis_dm.new_zeros(questions, width)
    for x_und, pull_un, question_u in zip(centred, pulls, owners, strict=True):
        x_unm = x_und @ basis_dm
        gram_qmm.index_add_(0, question_u, x_unm.mT @ x_unm)
        cross_qm.index_add_(0, question_u, (x_unm.mT @ pull_un[..., None])[..., 0])
    return gram_qmm, cross_qm


def _ridge(read_qk: Tensor, gram_qmm: Tensor, cross_qm: Tensor) -> Tensor:
    """Weights (k, m) of the products of readings and tokens."""
    k, m = read_qk.shape[1], gram_qmm.shape[1]
    pair_qkk = (read_qk[:, :, None] * read_qk[:, None]).flatten(1)
    gram = (pair_qkk.mT @ gram_qmm.flatten(1)).view(k, k, m, m).permute(0, 2, 1, 3).reshape(k * m, k * m)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean().clamp_min(1e-12))
    return torch.linalg.solve(gram, (read_qk.mT @ cross_qm).flatten()).view(k, m)
