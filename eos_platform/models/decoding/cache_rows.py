"""What was chosen for a prompt, kept with its cache and following its rows.

Rows of a cache are moved by many hands: beam search, ``batch_select_indices``, ``batch_repeat_interleave``, a copy, an
assignment. None of them is listened to. Instead the choice remembers which keys the last layer held after the latest
step: as long as it holds these very keys, nothing has moved and nothing is asked of the device. Once it holds others,
each row is found again by its content (a key of the last layer has seen its whole row), and the choice is moved alike.

Legend: b batch, h heads, c cached tokens, e head width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError

KEPT = "_eos_prompt"  # the attribute of a cache's last layer that holds the choice: a copied cache takes it along


@dataclass
class Seen:
    """What the last layer of a cache held after a step. The tensors are the layer's own, which costs no memory."""

    keys: Tensor | None  # (b, h, c, e); None: the layer holds quantized keys alone
    version: int | None  # counts writes in place; None: not known
    length: int
    rows: int

    def changed(self, keys: Tensor | None) -> bool:
        """Whether these keys are others, or were written over."""
        return keys is not self.keys or (self.version is not None and _version(keys) != self.version)

    def __deepcopy__(self, memo: dict[int, Any]) -> Seen:
        keys = copy.deepcopy(self.keys, memo)  # once, with those of the layer
        return Seen(keys, -1 if self.changed(self.keys) else _version(keys), self.length, self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "version": None}


def _version(keys: Tensor | None) -> int | None:
    return None if keys is None or keys.is_inference() else keys._version


def layer_of(cache: Any) -> Any | None:
    """The last layer of a cache that keeps keys; None where it has no layers yet."""
    cache = getattr(cache, "self_attention_cache", cache)
    layers = getattr(cache, "layers", None)
    if not layers:
        return None
    return next((layer for layer in reversed(layers) if hasattr(layer, "get_seq_length")), layers[-1])


def look(layer: Any, rows: int) -> Seen:
    """What a layer holds now, ``rows`` of it where it does not say."""
    keys = _keys(layer)
    return Seen(keys, _version(keys), int(layer.get_seq_length()), rows if keys is None else len(keys))


def _keys(layer: Any) -> Tensor | None:
    """Unquantized keys; those of 8 bits, of which new ones are appended as they are, do as well."""
    keys = getattr(layer, "keys", None)
    if keys is not None and keys.dim() == 4 and keys.numel():
        return keys
    packed = getattr(layer, "_quantized_keys", None)
    packed = packed[0] if isinstance(packed, tuple) else None
    return packed if isinstance(packed, Tensor) and packed.dim() == 4 else None


def row_order(seen: Seen, layer: Any, choice: Iterable[Tensor]) -> Tensor | None:
    """Which of the rows seen each row of a layer is (b); None: every one is where it was.

    It waits for the device only where the layer was changed and several rows were seen.

    Args:
        seen: after the latest step.
        layer: as it is now.
        choice: made for the rows seen (b, ...); rows that hold the same must have the same.

    Raises:
        EosError: a row is none of those seen or may be several, or tokens came without the operator.
    """
    now = look(layer, seen.rows)
    gone = seen.length - now.length
    if gone < 0:
        raise EosError(f"{-gone} tokens came into a cache while its operator was not at work: what follows is unknown")
    pending = getattr(layer, "_pending_beam_idx", None)  # quantized keys are moved at the next step
    if now.keys is seen.keys and (now.keys is not None or pending is None):
        if seen.changed(now.keys) and seen.rows > 1:
            raise EosError("the keys of a cache were changed in place: which rows they are of cannot be told any more")
        return None
    if seen.keys is None or now.keys is None:
        if pending is not None and seen.keys is None:
            return torch.as_tensor(pending)
        raise EosError("rows of a quantized cache cannot be followed here; use the default dynamic cache")
    if seen.rows == 1:
        return None if now.rows == 1 else torch.zeros(now.rows, dtype=torch.long, device=now.keys.device)
    column = seen.keys.shape[2] - 1 - gone
    if column < 0:
        raise EosError("more tokens were taken out of a cache than can be followed")
    then_bd, now_bd = (_bits(keys[:, :, at]) for keys, at in ((seen.keys, column), (now.keys, -1)))
    then_bd = then_bd.to(now_bd.device)  # offloaded, maybe
    same_bb = (now_bd[:, None] == then_bd[None]).all(-1)
    matched = same_bb.any(1).tolist()
    if not all(matched):
        raise EosError(
            f"row {matched.index(False)} of a cache is none of the {seen.rows} rows that its operator knows; move rows"
            " without changing them, and join no caches"
        )
    index_b = _first(same_bb)
    twin_b = _first((then_bd[:, None] == then_bd[None]).all(-1))
    for chosen in choice:
        if not torch.equal(chosen, chosen[twin_b.to(chosen.device)]):
            raise EosError(
                "rows of a cache were moved that hold the same, though different tokens were removed: they cannot be"
                " told apart"
            )
    if now.rows == seen.rows and index_b.equal(twin_b):  # twins may have changed places
        return None
    return index_b


def _first(same_bb: Tensor) -> Tensor:
    return same_bb.to(torch.uint8).argmax(1)


def _bits(keys_bhe: Tensor) -> Tensor:
    return keys_bhe.flatten(1).contiguous().view(torch.uint8)
