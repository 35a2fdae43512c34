"""Directions in closed form: what was put in comes out; narrow, wide and steered."""

import pytest
import torch

from eos_platform.analysis.transfer.calibration import readings as module
from eos_platform.analysis.transfer.calibration.dependence import Piece
from eos_platform.analysis.transfer.calibration.readings import reading_of
from eos_platform.operators.reduce import probed
from eos_platform.operators.spec import SiteSpec


def planted(questions: int, width: int, rank: int, units: int = 1) -> tuple[list[Piece], torch.Tensor]:
    """Pieces of two sizes whose pull is that of a direction turned by the question."""
    chance = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance)

    probe_d, text_kd, visual_kd = drawn(width), drawn(rank, width), 2 * drawn(rank, width)
    question_qd = 0.5 * drawn(questions, 4) @ drawn(4, width) + drawn(width)
    pieces = []
    for first, size in ((0, 9), (questions // 2, 16)):
        owner_u = torch.arange(first, first + questions // 2).repeat_interleave(units)
        x_und = torch.nn.functional.normalize(drawn(len(owner_u), size, width), dim=-1)
        direction_ud = probe_d + (question_qd[owner_u] @ text_kd.mT) @ visual_kd
        pull_un = (x_und @ direction_ud[..., None])[..., 0] + 5 * drawn(len(owner_u), 1)  # a constant of each unit
        pull_un = pull_un - pull_un.mean(1, keepdim=True)
        pieces.append(Piece(x_und, pull_un / pull_un.std(), owner_u))
    return pieces, question_qd


def said(reading: module.Reading, piece: Piece, question_qd: torch.Tensor) -> torch.Tensor:
    site = SiteSpec(layer=0, keep=1, probe=tuple(reading.probe_d.tolist()), steering=reading.steering)
    said_un = probed(site, piece.tokens_und, question_qd[piece.question_u])
    return said_un - said_un.mean(1, keepdim=True)


@pytest.mark.parametrize(("width", "most", "units"), [(12, 256, 1), (12, 256, 3), (24, 20, 1)])
def test_a_steered_direction_is_found_again(width: int, most: int, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDTH", most)
    pieces, question_qd = planted(160, width, 2, units)
    reading = reading_of(pieces, question_qd, rank=2)
    assert reading.steering is not None
    assert reading.steering.rank == 2
    together = torch.cat([torch.stack([said(reading, one, question_qd), one.pull_un]).flatten(1) for one in pieces], 1)
    wanted = 0.97 if width <= most else 0.8  # of all directions, or of those that tokens differ most along
    assert float(torch.corrcoef(together)[0, 1]) > wanted
    assert float(together[0].square().mean().sqrt()) == pytest.approx(1.0, rel=0.1)  # beside features of spread 1
    assert reading.explained > wanted**2 - 0.05


def test_without_steering_every_question_has_one_direction() -> None:
    pieces, question_qd = planted(160, 12, 2)
    plain, steered = (reading_of(pieces, question_qd, rank) for rank in (0, 2))
    assert plain.steering is None
    assert 0 < plain.explained < steered.explained - 0.05


def test_questions_that_do_not_differ_turn_nothing() -> None:
    pieces, question_qd = planted(160, 12, 0)
    reading = reading_of(pieces, question_qd[:1].expand(len(question_qd), -1), rank=4)
    assert reading.steering is None
    assert reading.explained > 0.9
