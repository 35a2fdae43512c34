"""Attention rows and features of a decoder layer, recomputed head by head with loops."""

import math
from types import SimpleNamespace

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.attention.queries import (
    AttentionInputs,
    attention_rows,
    layer_features,
    layer_keys,
    take_columns,
)
from eos_platform.models.attention.rope import Rope, rotate
from eos_platform.operators.tokens import gather_tokens

HEADS, GROUPS, WIDTH, HIDDEN, LENGTH = 4, 2, 6, 10, 9
VISUAL, OTHER = torch.tensor([[1, 2, 4], [3, 4, 5]]), torch.tensor([[0, 3, 5, 6, 7, 8], [0, 1, 2, 6, 7, 8]])
TEXT = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1, 1]], dtype=torch.bool)
VALID = torch.tensor([[1] * 9, [0, 1, 1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)


def layer_of(cap=None, norms=False):
    torch.manual_seed(4)
    attention = SimpleNamespace(
        head_dim=WIDTH,
        scaling=0.4,
        q_proj=torch.nn.Linear(HIDDEN, HEADS * WIDTH),
        k_proj=torch.nn.Linear(HIDDEN, GROUPS * WIDTH, bias=False),
        attn_logit_softcapping=cap,
    )
    if norms:
        attention.q_norm, attention.k_norm = torch.nn.LayerNorm(WIDTH), torch.nn.RMSNorm(WIDTH)
    return SimpleNamespace(self_attn=attention, input_layernorm=torch.nn.LayerNorm(HIDDEN))


def sequence_of(**changes):
    draw = torch.Generator().manual_seed(8)
    x = 2 * torch.randn(2, LENGTH, HIDDEN, generator=draw)
    angle = torch.rand(2, LENGTH, WIDTH, generator=draw)
    values = {
        "x_bkd": x,
        "rope": Rope(angle.cos(), angle.sin()),
        "valid_bk": VALID,
        "bias_bk": None,
        "visual_bn": VISUAL,
        "other_bt": OTHER,
        "text_bk": TEXT,
        "last_b": torch.tensor([6, 8]),
    }
    return AttentionInputs(**(values | changes))


def turned(x, sequence, row, place):
    c, s = sequence.rope.cos_bke[row, place], sequence.rope.sin_bke[row, place]
    half = WIDTH // 2
    return x * c + torch.cat([-x[half:], x[:half]]) * s


@torch.no_grad()
def logits(layer, sequence, row, query, head):
    """Of one query, with every key, before anything is masked."""
    attention, group = layer.self_attn, head // (HEADS // GROUPS)
    found = []
    normed = layer.input_layernorm(sequence.x_bkd[row])
    q = attention.q_proj(normed[query])[head * WIDTH : (head + 1) * WIDTH]
    q = turned(attention.q_norm(q) if hasattr(attention, "q_norm") else q, sequence, row, query)
    for key in range(LENGTH):
        k = attention.k_proj(normed[key])[group * WIDTH : (group + 1) * WIDTH]
        k = turned(attention.k_norm(k) if hasattr(attention, "k_norm") else k, sequence, row, key)
        value = float(q @ k) * attention.scaling
        cap = attention.attn_logit_softcapping
        found.append(value if cap is None else cap * math.tanh(value / cap))
    return found


def row_of(layer, sequence, row, query, head):
    values = logits(layer, sequence, row, query, head)
    seen = []
    for key in range(LENGTH):
        if sequence.mask is None:
            open_ = key <= query
        else:
            entry = sequence.mask[row, 0, query, key]
            open_ = bool(entry) if sequence.mask.dtype == torch.bool else entry > -1e30
        if open_ and sequence.valid_bk[row, key]:
            seen.append(key)
    bias = [0.0] * LENGTH if sequence.bias_bk is None else sequence.bias_bk[row].tolist()
    weights = {key: math.exp(values[key] + bias[key]) for key in seen}
    return [weights.get(key, 0.0) / sum(weights.values()) for key in range(LENGTH)]


BIAS = torch.linspace(-1, 2, 2 * LENGTH).view(2, LENGTH)
BOTH_WAYS = torch.rand(2, 1, LENGTH, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.7
BOTH_WAYS |= torch.eye(LENGTH, dtype=torch.bool)
CASES = {
    "plain": ({}, {}),
    "biased": ({}, {"bias_bk": BIAS}),
    "capped": ({"cap": 1.5}, {"bias_bk": BIAS}),
    "normed": ({"norms": True}, {}),
    "masked": ({}, {"mask": BOTH_WAYS}),
    "masked by numbers": ({}, {"mask": torch.where(BOTH_WAYS, 0.0, torch.finfo(torch.float32).min)}),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_rows_are_the_attention_of_the_layer(case):
    layer, sequence = layer_of(**CASES[case][0]), sequence_of(**CASES[case][1])
    query = torch.tensor([[6, 3, 8], [8, 2, 7]])
    normed, keys = layer_keys(layer, sequence)
    found = attention_rows(layer, sequence, query, normed, rotate(keys, sequence.rope))
    for row in range(2):
        for place, at in enumerate(query[row].tolist()):
            for head in range(HEADS):
                wanted = row_of(layer, sequence, row, at, head)
                assert found[row, head, place].tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("case", ["plain", "capped", "normed"])
@torch.no_grad()
def test_features_are_means_of_those_rows(case):
    layer, sequence = layer_of(**CASES[case][0]), sequence_of(**CASES[case][1])
    rater = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 1]], dtype=torch.bool)
    sequence = sequence._replace(rater_bt=rater)
    found = layer_features({"last_text", "mean_text", "raters", "key_norm", "norm"}, layer, sequence, {})
    assert set(found) == {"last_text", "mean_text", "raters", "key_norm"}
    keys = rotate(layer_keys(layer, sequence)[1], sequence.rope)

    def mean(row, queries, n):
        place = int(VISUAL[row, n])
        return (
            sum(row_of(layer, sequence, row, q, h)[place] for q in queries for h in range(HEADS)) / HEADS / len(queries)
        )

    for row in range(2):
        asks = TEXT[row].nonzero().flatten().tolist()
        rates = OTHER[row][rater[row]].tolist()
        for n in range(3):
            assert found["last_text"][row, n].item() == pytest.approx(
                mean(row, [int(sequence.last_b[row])], n), abs=1e-5
            )
            assert found["mean_text"][row, n].item() == pytest.approx(mean(row, asks, n), abs=1e-5)
            assert found["raters"][row, n].item() == pytest.approx(mean(row, rates, n), abs=1e-5)
            loud = keys[row, VISUAL[row, n]].abs().sum().item()
            assert found["key_norm"][row, n].item() == pytest.approx(loud, rel=1e-5)
    alone = layer_features({"last_text"}, layer, sequence, {})
    torch.testing.assert_close(alone["last_text"], found["last_text"])
    alone = layer_features({"mean_text"}, layer, sequence, {})
    torch.testing.assert_close(alone["mean_text"], found["mean_text"])


@torch.no_grad()
def test_pivots_and_what_is_given():
    layer, sequence = layer_of(), sequence_of(question_bd=torch.ones(2, HIDDEN))
    keys = rotate(layer_keys(layer, sequence)[1], sequence.rope)
    found = layer_features({"text_pivots", "question", "vision"}, layer, sequence, {"vision": torch.ones(2, 3).half()})
    assert set(found) == {"text_pivots", "question", "vision"}
    assert found["vision"].dtype == torch.float32
    for row in range(2):
        asks = TEXT[row].nonzero().flatten().tolist()
        loudest = sorted(asks, key=lambda place: -keys[row, place].abs().sum().item())
        wanted = [loudest[number % len(loudest)] for number in range(4)]
        torch.testing.assert_close(found["text_pivots"][row], sequence.x_bkd[row, wanted])
    with pytest.raises(EosError, match="'vision' comes from before the decoder"):
        layer_features({"vision"}, layer, sequence, {})


def test_taking_rows_and_columns():
    x, place = torch.arange(24.0).view(2, 4, 3), torch.tensor([[3, 0], [1, 1]])
    assert gather_tokens(x, place).tolist() == [[x[0, 3].tolist(), x[0, 0].tolist()], [x[1, 1].tolist()] * 2]
    for rows in (torch.rand(2, 5, 4), torch.rand(2, 3, 5, 4)):
        found = take_columns(rows, place)
        for row in range(2):
            torch.testing.assert_close(found[row], rows[row][..., place[row]])
