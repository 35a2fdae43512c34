"""Masks of every kind a layer may be handed, cut, closed and biased, against what each says pair by pair."""

import pytest
import torch

from eos_platform.models.attention.masks import add_bias, as_float, close, cut, take, take_keys

LEAST = torch.finfo(torch.float32).min
PRESENT = torch.tensor([[0, 2, 3, 5], [1, 2, 4, 5]])
ALIVE = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1]], dtype=torch.bool)
DRAW = torch.Generator().manual_seed(0)
BOOL = torch.rand(2, 3, 6, 6, generator=DRAW) < 0.6
FLOAT = torch.where(BOOL, torch.randn(2, 3, 6, 6, generator=DRAW), LEAST)
KEYS = torch.rand(2, 6, generator=DRAW) < 0.6


def entry(mask, row, head, query, key):
    """What a mask says of one pair, broadcast as attention does."""
    return mask[min(row, mask.shape[0] - 1), min(head, mask.shape[1] - 1), query, key]


@pytest.mark.parametrize("mask", [BOOL, FLOAT, BOOL[:1], BOOL[:, :1], FLOAT[:1, :1]])
def test_rows_and_columns_are_taken(mask):
    found = take(mask, PRESENT)
    keys = take_keys(mask, PRESENT)
    assert found.shape == (2, mask.shape[1], 4, 4)
    assert keys.shape == (2, mask.shape[1], 6, 4)
    for row in range(2):
        for head in range(mask.shape[1]):
            for key in range(4):
                for query in range(4):
                    wanted = entry(mask, row, head, PRESENT[row, query], PRESENT[row, key])
                    assert found[row, head, query, key] == wanted
                for query in range(6):
                    assert keys[row, head, query, key] == entry(mask, row, head, query, PRESENT[row, key])


@pytest.mark.parametrize("mask", [KEYS, KEYS[:1]])
def test_a_mask_of_keys_alone(mask):
    for found in (take(mask, PRESENT), take_keys(mask, PRESENT)):
        assert found.tolist() == [
            [bool(mask[min(row, len(mask) - 1), key]) for key in PRESENT[row]] for row in range(2)
        ]


@pytest.mark.parametrize("queries", [1, 3, 6])
@pytest.mark.parametrize("kind", ["none", "bool", "float", "one row"])
def test_a_bias_is_added_to_every_key(kind, queries):
    bias = torch.randn(2, 6, generator=DRAW)
    mask = {"none": None, "bool": BOOL, "float": FLOAT, "one row": BOOL[:1, :1]}[kind]
    mask = mask if mask is None else mask[:, :, :queries]
    found = add_bias(mask, bias, queries, torch.float32)
    for row in range(2):
        for query in range(queries):
            for key in range(6):
                seen = key <= query + 6 - queries if mask is None else entry(mask, row, 0, query, key)
                value = found[row, 0, query, key].item()
                if mask is not None and mask.dtype != torch.bool:
                    assert value == pytest.approx((seen + bias[row, key]).item())
                else:
                    assert value == (pytest.approx(bias[row, key].item()) if seen else LEAST)


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_nobody_attends_to_what_is_not_alive_but_it_to_itself(kind):
    mask = {"none": None, "bool": BOOL[:, :1, :4, :4], "float": FLOAT[:, :1, :4, :4]}[kind]
    found = close(mask, ALIVE, torch.float32)
    for row in range(2):
        for query in range(4):
            for key in range(4):
                given = key <= query if mask is None else entry(mask, row, 0, query, key)
                opened = bool(ALIVE[row, key]) or query == key
                if kind == "float":
                    assert found[row, 0, query, key] == (given if opened else LEAST)
                else:
                    assert bool(found[row, 0, query, key]) == ((opened and bool(given)) or (query == key))


@pytest.mark.parametrize("alive", [None, ALIVE])
@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("kind", ["none", "keys", "bool", "float"])
def test_a_prefills_mask_is_cut_to_what_is_present(kind, flash, alive):
    if flash and kind in ("bool", "float"):
        pytest.skip("flash attention is handed keys alone")
    mask = {"none": None, "keys": KEYS, "bool": BOOL, "float": FLOAT}[kind]
    found = cut(mask, PRESENT, alive, torch.float32, flash)
    taken = None if mask is None else take(mask, PRESENT)
    if alive is None:
        wanted = taken
    elif kind == "keys" or flash:
        wanted = alive if taken is None else taken & alive
    else:
        wanted = close(taken, alive, torch.float32)
    assert (found is None) == (wanted is None)
    if wanted is not None:
        assert found.shape == wanted.shape
        assert torch.equal(found.to(wanted.dtype), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bool_mask_as_numbers(dtype):
    found = as_float(BOOL[:, 0], dtype)
    assert (found.shape, found.dtype) == ((2, 1, 6, 6), dtype)
    assert torch.equal(found[:, 0] == 0, BOOL[:, 0])
    assert (found[:, 0][~BOOL[:, 0]] == torch.finfo(dtype).min).all()
