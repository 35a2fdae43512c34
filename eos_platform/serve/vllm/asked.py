"""The question of a prompt on its way to the vision tower, and into the keys of the caches.

Caches of encoded pictures, and of prefixes, go by the picture and not by the text; where the text decides which tokens
stay, one question's choice would be read for another. So the keys name the operator, and the question where it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.serve.vllm.reduction import Reduction

FIELD = "eos_question"  # of a picture: token ids of the text behind the last picture of its prompt
NOBODY = -1  # where there is no text


def key(base: str, reduction: Reduction) -> str:
    """A picture's key of caches, with the operator's."""
    return f"{base}-{reduction.digest}"


def asked_key(base: str, ids: Sequence[int]) -> str:
    """A key with the question's."""
    text = ",".join(map(str, ids))
    return f"{base}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Asking:
    """What a processor of vLLM does besides, with an operator (mixed in before its class)."""

    info: Any
    apart = False  # whether pictures must have text between them

    @property
    def reduction(self) -> Reduction | None:
        """The operator that is served."""
        found: Reduction | None = self.info.reduction
        return found

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Any) -> Any:
        from vllm.multimodal.inputs import MultiModalFieldConfig

        fields = dict(super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs))  # type: ignore[misc]
        return fields | {FIELD: MultiModalFieldConfig.batched("image")}

    def _get_mm_hashes(self, inputs: Any) -> Any:
        hashes = dict(super()._get_mm_hashes(inputs))  # type: ignore[misc]
        if self.reduction is not None and "image" in hashes:
            hashes["image"] = [key(one, self.reduction) for one in hashes["image"]]
        return hashes

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """As vLLM's, with the question told."""
        from vllm.multimodal.inputs import MultiModalBatchedField, MultiModalFieldElem

        out = super().apply(inputs, timing_ctx)  # type: ignore[misc]
        ranges = out["mm_placeholders"].get("image", ())
        if self.reduction is None or not ranges:
            return out
        if self.apart:
            _check_apart(ranges, len(out["prompt_token_ids"]))
        if not self.reduction.reads_text:
            return out
        ids = list(out["prompt_token_ids"][_end(ranges[-1]) :])
        asked = torch.tensor(ids or [NOBODY], dtype=torch.long)
        out["mm_hashes"]["image"] = [asked_key(one, ids) for one in out["mm_hashes"]["image"]]
        for item in out["mm_kwargs"]["image"]:
            item[FIELD] = MultiModalFieldElem(data=asked, field=MultiModalBatchedField())
        return out


def _end(one: Any) -> int:
    """Behind the last visual token of a picture's range, where words of the range may follow."""
    if one.is_embed is None:
        return int(one.offset + one.length)
    return int(one.offset + one.is_embed.nonzero()[-1]) + 1


def _check_apart(ranges: Sequence[Any], length: int) -> None:
    end = 0
    for one in ranges:
        if one.offset == end > 0:
            raise EosError("two pictures need a token of text between them (the model's own template has one)")
        end = one.offset + one.length
    if end == length:
        raise EosError("a picture needs a token of text behind it (the model's own template has one)")


def text_of(asked: Any, embed: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings (m, t, d) of the questions, and which are no padding (m, t).

    Args:
        asked: the field, of each picture.
        embed: the language model's embeddings of ids.
        device: where.
    """
    rows = [row.flatten().to(device) for row in asked]
    ids_mt = nested(rows)
    asks_mt = ids_mt != NOBODY
    embedded_mtd = embed(ids_mt.clamp(min=0).flatten()).unflatten(0, ids_mt.shape)
    return embedded_mtd, asks_mt


def nested(rows: Sequence[Tensor]) -> Tensor:
    """Rows of any lengths as one tensor, padded."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=NOBODY)
