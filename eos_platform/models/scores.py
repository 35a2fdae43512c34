"""What attention says about visual tokens, recomputed from the few query rows it takes (never a full map).

Legend: b batch, k tokens present in the sequence, n visual tokens, q query rows, d width, g key heads, f query heads
per key head, e head width.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.errors import EosError


class Rope(NamedTuple):
    """Rotary position embeddings of the tokens present."""

    cos_bke: Tensor
    sin_bke: Tensor

    def at(self, place_bq: Tensor) -> Rope:
        """Those of some of the tokens."""
        index = place_bq[:, :, None].expand(-1, -1, self.cos_bke.shape[2])
        return Rope(self.cos_bke.gather(1, index), self.sin_bke.gather(1, index))


class Sequence(NamedTuple):
    """The tokens present before a decoder layer, as attention sees them."""

    x_bkd: Tensor
    rope: Rope
    valid_bk: Tensor  # bool, not padding
    bias_bk: Tensor | None  # added to the logits of each key
    visual_bn: Tensor  # places of the visual tokens in x_bkd
    other_bt: Tensor  # places of all other tokens
    text_bk: Tensor  # bool, prompt text after the image
    last_b: Tensor  # place of the last prompt token


def _rotate(x_bqhe: Tensor, rope: Rope) -> Tensor:
    first, second = x_bqhe.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x_bqhe * rope.cos_bke[:, :, None] + turned * rope.sin_bke[:, :, None]


def take_tokens(x_bkd: Tensor, place_bq: Tensor) -> Tensor:
    """x_bqd: the tokens at ``place_bq``."""
    return x_bkd.gather(1, place_bq[:, :, None].expand(-1, -1, x_bkd.shape[2]))


def attention_rows(layer: Any, sequence: Sequence, query_bq: Tensor) -> Tensor:
    """row_bqn (float32): how much the query rows of a decoder layer look at each visual token, mean over heads.

    The softmax is over every token present.

    Args:
        layer: the decoder layer whose input norm and q/k projections are used.
        sequence: the tokens present.
        query_bq: places of the query tokens.
    """
    attention = layer.self_attn
    width = attention.head_dim
    normed_bkd = layer.input_layernorm(sequence.x_bkd)
    query_bqhe = attention.q_proj(take_tokens(normed_bkd, query_bq)).unflatten(-1, (-1, width))
    key_bkge = attention.k_proj(normed_bkd).unflatten(-1, (-1, width))
    query_bqhe = _rotate(query_bqhe, sequence.rope.at(query_bq))
    key_bkge = _rotate(key_bkge, sequence.rope)
    query_bqgfe = query_bqhe.unflatten(2, (key_bkge.shape[2], -1))
    logits = torch.einsum("bqgfe,bkge->bgfqk", query_bqgfe, key_bkge).float() * attention.scaling
    place_k = torch.arange(key_bkge.shape[1], device=logits.device)
    seen_bqk = (place_k <= query_bq[:, :, None]) & sequence.valid_bk[:, None, :]
    if sequence.bias_bk is not None:
        logits = logits + sequence.bias_bk[:, None, None, None, :]
    # not -inf: the row of a padding query has no key at all
    logits = logits.masked_fill(~seen_bqk[:, None, None], torch.finfo(torch.float32).min)
    row_bqk = logits.softmax(-1).mean((1, 2))
    return row_bqk.gather(2, sequence.visual_bn[:, None].expand(-1, row_bqk.shape[1], -1))


def attention_features(
    names: Collection[str], layer: Any, sequence: Sequence, vision_bn: Tensor | None
) -> dict[str, Tensor]:
    """Those of the named features that come from attention, for the visual tokens present, each (b, n) float32.

    The others follow from the tokens alone.

    Args:
        names: some of ``FEATURES``.
        layer: the decoder layer the site stands before.
        sequence: the tokens present (of relaxed ones, their presence is in its bias).
        vision_bn: attention inside the vision tower to the visual tokens present.

    Raises:
        EosError: ``vision`` is named and not given.
    """
    found: dict[str, Tensor] = {}
    last, mean = "last_text" in names, "mean_text" in names
    if last or mean:
        # for the mean every non-visual token is a query row, so that shapes do not depend on the prompt; those that
        # may not ask weigh nothing
        queries = ([sequence.last_b[:, None]] if last else []) + ([sequence.other_bt] if mean else [])
        row_bqn = attention_rows(layer, sequence, torch.cat(queries, 1))
    if last:
        found["last_text"] = row_bqn[:, 0]
    if mean:
        asks_bt = sequence.text_bk.gather(1, sequence.other_bt).float()
        weight_bt = asks_bt / asks_bt.sum(1, keepdim=True).clamp(min=1)
        found["mean_text"] = torch.einsum("bt,btn->bn", weight_bt, row_bqn[:, int(last) :])
    if "vision" in names:
        if vision_bn is None:
            raise EosError("the feature 'vision' needs the vision tower's attention, and none was given")
        found["vision"] = vision_bn.float()
    return found
