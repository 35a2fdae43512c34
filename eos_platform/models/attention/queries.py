"""What attention says about visual tokens, recomputed from the few query rows it takes (never a full map).

Legend: b batch, k tokens present in the sequence, n visual tokens, t other tokens, q query rows, p text tokens that
are pivots, d width, g key heads, f query heads per key head, h all heads, e head width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.attention.rope import Rope, Turn, rotate
from eos_platform.models.attention.text_queries import mean_rows, pivot_places, weighed_rows, without_decay
from eos_platform.models.loading.devices import loaded, moved
from eos_platform.operators.tokens import gather_tokens

# what is known of each token before any decoder layer
GIVEN = ("vision", "next_vision", "relevance", "keys", "received", "flow", "padding")


class AttentionInputs(NamedTuple):
    """The tokens present before a decoder layer, as attention sees them."""

    x_bkd: Tensor
    rope: Rope
    valid_bk: Tensor  # bool, not padding
    bias_bk: Tensor | None  # added to the logits of each key
    visual_bn: Tensor  # places of the visual tokens in x_bkd
    other_bt: Tensor  # places of all other tokens
    text_bk: Tensor  # bool, prompt text after the image
    last_b: Tensor  # place of the last prompt token
    rater_bt: Tensor | None = None  # bool, which of the other tokens rate visual ones
    wide_rope: Callable[[], Rope] | None = None  # the same embeddings in float32
    counted_bn: Tensor | None = None  # bool, which of the "visual" tokens are; the others are asked about for nothing
    mask: Tensor | None = None  # of the layer, where attention is not simply causal
    question_bd: Tensor | None = None  # mean direction of the text
    own_rope: Callable[[], Rope] | None = None  # embeddings at positions that start at 0 with each prompt
    turn: Turn = rotate  # queries and keys of the layer by their embeddings


def layer_keys(layer: Any, sequence: AttentionInputs) -> tuple[Tensor, Tensor]:
    """The input of a decoder layer after its norm (b, k, d), and its keys there, not yet turned (b, k, g, e).

    Its weights are there (``loaded``).
    """
    attention = layer.self_attn
    device = sequence.x_bkd.device
    normed_bkd = moved(layer.input_layernorm(sequence.x_bkd), device)
    key_bkge = attention.k_proj(normed_bkd).unflatten(-1, (-1, attention.head_dim))
    return normed_bkd, moved(_normed(attention, "k_norm", key_bkge), device)


def _normed(attention: Any, name: str, x_bqhe: Tensor) -> Tensor:
    """Queries or keys after their norm, where the model has one."""
    norm = getattr(attention, name, None)
    return x_bqhe if norm is None else norm(x_bqhe)


def attention_rows(
    layer: Any, sequence: AttentionInputs, query_bq: Tensor, normed_bkd: Tensor, key_bkge: Tensor
) -> Tensor:
    """row_bhqk (float32): how much the query rows of a decoder layer look at each token present.

    Args:
        layer: the decoder layer whose q projection is used.
        sequence: the tokens present.
        query_bq: places of the query tokens.
        normed_bkd, key_bkge: see ``layer_keys``; the keys turned by position.
    """
    attention = layer.self_attn
    query_bqhe = _queries(attention, gather_tokens(normed_bkd, query_bq), key_bkge.shape[2])
    query_bqhe = moved(_normed(attention, "q_norm", query_bqhe), sequence.x_bkd.device)
    query_bqhe = sequence.turn(query_bqhe, sequence.rope.at(query_bq))
    query_bqgfe = query_bqhe.unflatten(2, (key_bkge.shape[2], -1))
    logits = torch.einsum("bqgfe,bkge->bgfqk", query_bqgfe, key_bkge).float() * attention.scaling
    cap = getattr(attention, "attn_logit_softcapping", None)
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    seen_bqk = _seen(sequence, query_bq)
    if sequence.bias_bk is not None:
        logits = logits + sequence.bias_bk[:, None, None, None, :]
    # not -inf: the row of a padding query has no key at all
    logits = logits.masked_fill(~seen_bqk[:, None, None], torch.finfo(torch.float32).min)
    return logits.softmax(-1).flatten(1, 2)


def _queries(attention: Any, normed_bqd: Tensor, groups: int) -> Tensor:
    """Queries (b, q, h, e); where a gate of each is projected with it, behind it, that is left out."""
    query_bqhe: Tensor = attention.q_proj(normed_bqd).unflatten(-1, (-1, attention.head_dim))
    heads = groups * getattr(attention, "num_key_value_groups", query_bqhe.shape[2] // groups)
    return query_bqhe if query_bqhe.shape[2] == heads else query_bqhe[:, :, ::2]


def _seen(sequence: AttentionInputs, query_bq: Tensor) -> Tensor:
    """Which tokens each query row may look at (b, q, k)."""
    valid_b1k = sequence.valid_bk[:, None, :]
    if sequence.mask is None:
        place_k = torch.arange(sequence.x_bkd.shape[1], device=query_bq.device)
        return (place_k <= query_bq[:, :, None]) & valid_b1k
    mask_bkk = sequence.mask[:, 0]
    seen_bkk = mask_bkk if mask_bkk.dtype == torch.bool else mask_bkk > torch.finfo(mask_bkk.dtype).min / 2
    index = query_bq[:, :, None].expand(-1, -1, seen_bkk.shape[2])
    return seen_bkk.expand(len(query_bq), -1, -1).gather(1, index) & valid_b1k


def layer_features(
    names: Collection[str], layer: Any, sequence: AttentionInputs, given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What a model says about the visual tokens present, by name: (b, n) float32 each.

    Four more are no features: ``keys`` (b, n, e), ``text_pivots`` (b, p, d), hidden states of text tokens,
    ``text_rows`` (b, t, d), those of all that may ask (the others are zeros), and ``question`` (b, d), the mean
    direction of the text. What is named but follows from the tokens alone is left out.

    Args:
        names: some of ``ALL_FEATURES``, ``keys``, ``text_pivots``, ``text_rows``.
        layer: the decoder layer the site stands before.
        sequence: the tokens present (of relaxed ones, their presence is in its bias).
        given: what was known of them before (``GIVEN``).

    Raises:
        EosError: one of ``GIVEN`` is named and not given.
    """
    features: dict[str, Tensor] = {}
    for name in GIVEN:
        if name in names:
            if name not in given:
                raise EosError(f"'{name}' comes from before the decoder (the vision tower), and was not given")
            features[name] = given[name].float()
    if "question" in names and sequence.question_bd is not None:
        features["question"] = sequence.question_bd
    if "text_rows" in names:
        asks_bt = sequence.text_bk.gather(1, sequence.other_bt)
        features["text_rows"] = gather_tokens(sequence.x_bkd, sequence.other_bt) * asks_bt[..., None]
    rows = [name for name in ("last_text", "mean_text", "raters", "corrected", "weighed_text") if name in names]
    loud = [name for name in ("key_norm", "text_pivots") if name in names]
    if not rows and not loud:
        return features
    with loaded(layer):
        normed_bkd, key_bkge = layer_keys(layer, sequence)
        if rows:
            features |= _from_rows(rows, layer, sequence, normed_bkd, sequence.turn(key_bkge, sequence.rope))
    if loud:
        # how long a key is (in L1) depends on its angle: counted from each prompt's first token, whatever its padding
        rope = sequence.rope if sequence.own_rope is None else sequence.own_rope()
        norm_bk = sequence.turn(key_bkge, rope).float().abs().sum((2, 3))
        if "key_norm" in loud:
            features["key_norm"] = norm_bk.gather(1, sequence.visual_bn)
        if "text_pivots" in loud:
            asks_bt = sequence.text_bk.gather(1, sequence.other_bt)
            place_bp = pivot_places(norm_bk.gather(1, sequence.other_bt), asks_bt, sequence.other_bt)
            features["text_pivots"] = gather_tokens(sequence.x_bkd, place_bp)
    return features


def _from_rows(
    names: Collection[str], layer: Any, sequence: AttentionInputs, normed_bkd: Tensor, key_bkge: Tensor
) -> dict[str, Tensor]:
    features: dict[str, Tensor] = {}
    last = int("last_text" in names)
    # for a mean every non-visual token is a query row, so that shapes do not depend on the prompt; those that may not
    # ask weigh nothing
    queries = [sequence.last_b[:, None]] * last + [sequence.other_bt] * (len(names) > last)
    row_bhqk = attention_rows(layer, sequence, torch.cat(queries, 1), normed_bkd, key_bkge)
    row_bqn = take_columns(row_bhqk.mean(1), sequence.visual_bn)
    row_btn = row_bqn[:, last:]
    if last:
        features["last_text"] = row_bqn[:, 0]
    if "mean_text" in names:
        features["mean_text"] = mean_rows(row_btn, sequence.text_bk.gather(1, sequence.other_bt))
    if "weighed_text" in names:
        asks_bt = sequence.text_bk.gather(1, sequence.other_bt)
        row_bhtk = row_bhqk[:, :, last:]
        features["weighed_text"] = weighed_rows(
            take_columns(row_bhtk, sequence.visual_bn), take_columns(row_bhtk, sequence.other_bt), asks_bt
        )
    if "raters" in names or "corrected" in names:
        assert sequence.rater_bt is not None
        if "raters" in names:
            features["raters"] = mean_rows(row_btn, sequence.rater_bt)
        if "corrected" in names:
            assert sequence.wide_rope is not None
            rope = sequence.wide_rope()
            row_bhtn = take_columns(row_bhqk[:, :, last:], sequence.visual_bn)
            if sequence.counted_bn is not None:
                row_bhtn = row_bhtn * sequence.counted_bn[:, None, None]
            features["corrected"] = without_decay(
                row_bhtn, rope.at(sequence.other_bt), rope.at(sequence.visual_bn), sequence.rater_bt, sequence.turn
            )
    return features


def previous_row(layer: Any, sequence: AttentionInputs) -> Tensor:
    """How much the last text token looks at each visual token in ``layer`` (b, n), float32.

    Args:
        layer: the decoder layer before the site's.
        sequence: the tokens as they entered it.
    """
    with loaded(layer):
        normed_bkd, key_bkge = layer_keys(layer, sequence)
        key_bkge = sequence.turn(key_bkge, sequence.rope)
        row_bh1k = attention_rows(layer, sequence, sequence.last_b[:, None], normed_bkd, key_bkge)
    return take_columns(row_bh1k.mean(1), sequence.visual_bn)[:, 0]


def take_columns(row_bqk: Tensor, place_bn: Tensor) -> Tensor:
    """The columns ``place_bn`` of (b, q, k) or (b, h, q, k)."""
    index = place_bn[(slice(None), *[None] * (row_bqk.dim() - 2))]
    return row_bqk.gather(-1, index.expand(*row_bqk.shape[:-1], -1))
