"""What text says of visual tokens, against loops: every row of a batch with other lengths, other numbers of raters."""

import math

import pytest
import torch

from eos_platform.models.attention.rope import Rope, rotate
from eos_platform.models.attention.text_queries import (
    PIVOTS,
    choose_raters,
    mean_rows,
    pivot_places,
    question,
    relevance,
    without_decay,
)

DRAW = torch.Generator().manual_seed(3)
VISUAL, TEXT = torch.randn(3, 7, 6, generator=DRAW), torch.randn(3, 5, 6, generator=DRAW)
ASKS = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [0, 0, 0, 0, 1]], dtype=torch.bool)
COUNTED = torch.tensor([[1] * 7, [1, 1, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)


def softmax(values):
    top = max(values)
    parts = [math.exp(value - top) for value in values]
    return [part / sum(parts) for part in parts]


def dot(a, b):
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


@pytest.mark.parametrize("counted", [None, COUNTED])
def test_raters_are_pointed_at_more_than_text_on_average(counted):
    found = choose_raters(VISUAL, TEXT, ASKS, counted)
    some = 0
    for row in range(3):
        asking = ASKS[row].nonzero().flatten().tolist()
        visual = [n for n in range(7) if counted is None or counted[row, n]]
        mean = dict.fromkeys(asking, 0.0)
        for n in visual:
            for t, share in zip(asking, softmax([dot(VISUAL[row, n], TEXT[row, t]) for t in asking]), strict=True):
                mean[t] += share / len(visual)
        raters = [t for t in asking if mean[t] > 1 / len(asking) + 1e-6]
        assert found[row].nonzero().flatten().tolist() == (raters or asking)
        some += len(raters) < len(asking)
    assert some


def test_where_none_stands_out_all_who_may_ask_rate():
    assert torch.equal(choose_raters(torch.zeros(3, 7, 6), TEXT, ASKS), ASKS)


def test_relevance_and_question_are_means_over_those_who_ask():
    asked, relevant = question(TEXT, ASKS), relevance(VISUAL, TEXT, ASKS)
    for row in range(3):
        units = [TEXT[row, t] / TEXT[row, t].norm() for t in ASKS[row].nonzero().flatten().tolist()]
        mean = sum(units) / len(units)
        torch.testing.assert_close(asked[row], mean)
        for n in range(7):
            assert relevant[row, n].item() == pytest.approx(
                dot(VISUAL[row, n], mean) / VISUAL[row, n].norm().item(), abs=1e-5
            )
    nobody = torch.zeros_like(ASKS)
    assert not question(TEXT, nobody).any()


def test_mean_rows():
    rows = torch.rand(3, 5, 7, generator=DRAW)
    found = mean_rows(rows, ASKS)
    for row in range(3):
        torch.testing.assert_close(found[row], rows[row][ASKS[row]].mean(0))


def rope_at(positions, width):
    rate = 0.3 ** torch.arange(width // 2)
    angle = torch.tensor(positions, dtype=torch.float32)[..., None] * torch.cat([rate, rate])
    return Rope(angle.cos(), angle.sin())


@pytest.mark.parametrize(("heads", "listened"), [(1, 1), (2, 1), (4, 2), (8, 4), (16, 7)])
def test_attention_freed_of_distance_is_of_the_loudest_heads(heads, listened):
    width = 4
    rows = torch.rand(3, heads, 5, 7, generator=torch.Generator().manual_seed(heads)) / 7
    text, visual = rope_at([[9, 10, 11, 12, 13]] * 3, width), rope_at([[1, 2, 3, 4, 5, 6, 7]] * 3, width)
    found = without_decay(rows, text, visual, ASKS)
    ones = torch.ones(width)
    for row in range(3):
        raters = ASKS[row].nonzero().flatten().tolist()
        rated = torch.zeros(heads, 7)
        for h in range(heads):
            for n in range(7):
                for t in raters:
                    one, other = (
                        rotate(
                            ones[None, None, None], Rope(rope.cos_bke[:1, [place]], rope.sin_bke[:1, [place]])
                        ).flatten()
                        for rope, place in ((text, t), (visual, n))
                    )
                    left = max(dot(one, other) / width**0.5, 1e-3)
                    rated[h, n] += rows[row, h, t, n] / left / len(raters)
        loudest = sorted(range(heads), key=lambda h: -rated[h].sum().item())[:listened]
        torch.testing.assert_close(found[row], rated[loudest].mean(0), rtol=1e-4, atol=1e-5)


def test_pivots_are_the_loudest_who_may_ask_again_from_the_first_where_they_run_out():
    norms = torch.tensor([[1.0, 5.0, 3.0, 4.0, 2.0], [9.0, 1.0, 2.0, 9.0, 3.0], [9.0, 9.0, 9.0, 9.0, 1.0]])
    places = torch.tensor([[10, 11, 12, 13, 14]] * 3)
    assert PIVOTS == 4
    assert pivot_places(norms, ASKS, places).tolist() == [[11, 13, 12, 14], [14, 12, 11, 14], [14, 14, 14, 14]]


def test_turning_is_a_rotation_of_pairs_a_half_apart():
    x = torch.randn(2, 3, 2, 4, generator=DRAW)
    rope = rope_at([[1, 4, 7], [0, 2, 3]], 4)
    found = rotate(x, rope)
    for row in range(2):
        for place in range(3):
            for pair in (0, 1):
                c, s = rope.cos_bke[row, place, pair], rope.sin_bke[row, place, pair]
                first, second = x[row, place, :, pair], x[row, place, :, pair + 2]
                torch.testing.assert_close(found[row, place, :, pair], first * c - second * s)
                torch.testing.assert_close(found[row, place, :, pair + 2], second * c + first * s)
    torch.testing.assert_close(rope.at(torch.tensor([[2, 0], [1, 1]])).cos_bke[0, 0], rope.cos_bke[0, 2])
