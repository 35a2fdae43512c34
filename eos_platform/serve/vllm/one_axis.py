"""Families whose tokens have one position each, which vLLM counts in three rows that are the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from vllm.multimodal.processing import PromptReplacement, PromptUpdateDetails

from eos_platform.serve.vllm import places
from eos_platform.serve.vllm.asked import Asking
from eos_platform.serve.vllm.reduction import Reduction
from eos_platform.serve.vllm.served import Reducing
from eos_platform.serve.vllm.units import image_token, shrunk


class Informed:
    """What is known of pictures before they are looked at (mixed in before vLLM's class of processing)."""

    @cached_property
    def reduction(self) -> Reduction | None:
        """The operator that is served."""
        return Reduction.named_by(self.get_hf_config())  # type: ignore[attr-defined]


class TiledAsking(Asking):
    """As many places as the operator leaves of every tile; tells the question, and keeps caches apart."""

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any) -> Any:
        updates = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)  # type: ignore[misc]
        reduction = self.reduction
        if reduction is None:
            return updates
        token, usual = image_token(self.info.get_hf_config()), reduction.usual

        def fewer(update: Any) -> Any:
            if update.modality != "image":
                return update

            def replaced(item: int) -> Any:
                ids = shrunk(update.replacement(item).full, token, reduction.plan.tokens, usual.kept)
                return PromptUpdateDetails.select_token_id(ids, token)

            return PromptReplacement(modality="image", target=update.target, replacement=replaced)

        return [fewer(update) for update in updates]


class OneAxis(Reducing):
    """Positions as a decoder of one axis takes them."""

    def forward(
        self, input_ids: Any, positions: Tensor, intermediate_tensors: Any = None, inputs_embeds: Any = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """As vLLM's; positions of three rows are three times the same."""
        if positions.ndim == 2:
            positions = positions[0]
        return super().forward(  # type: ignore[misc]
            input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs
        )


class EqualUnits(OneAxis):
    """Pictures of one size, or of tiles of one size: equally many tokens each, so that they may follow one another."""

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Pictures as the language model gets them, numbers of their own behind each token (``reduction.py``)."""
        text = self.eos_text(kwargs, next(self.decoder.parameters()).device)
        given = super().embed_multimodal(**kwargs)  # type: ignore[misc]
        if self.eos_served is None or (isinstance(given, list) and not given):
            return given
        n, grid = self.eos_served.plan.tokens, self.eos_served.plan.operator.target.grid
        units = [len(x_nd) // n for x_nd in given]
        x_und = torch.cat(list(given)).unflatten(0, (-1, n))
        which_u = torch.arange(len(units), device=x_und.device).repeat_interleave(
            torch.tensor(units, device=x_und.device)
        )
        row_ure = self.eos_served(x_und, grid, self.eos_seen(), self.eos_questions(text, which_u, x_und))
        return tuple(one.flatten(0, 1) for one in row_ure.split(units))

    def eos_seen(self) -> dict[str, Tensor]:
        """What the vision tower said of the units of all pictures (u, n), by feature name."""
        return {}

    def _spans(self, ids: Tensor) -> list[places.Span]:
        assert self.eos_served is not None
        kept, extent = self.eos_served.usual.kept, self.eos_served.usual.extent
        there = (ids == image_token(self.config)).nonzero()[:, 0][::kept].tolist()
        return [places.Span(start, kept, extent) for start in there]

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """Positions before pictures were seen."""
        return places.begun(len(input_tokens), self._spans(torch.as_tensor(input_tokens)))

    def recompute_mrope_positions(
        self, input_ids: Any, multimodal_embeddings: Sequence[Tensor], mrope_positions: Tensor, num_computed_tokens: int
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Positions once the pictures of a piece of the prompt were seen."""
        ids = torch.as_tensor(input_ids).cpu()
        base_3s, delta = places.begun(len(ids), self._spans(ids))
        if len(multimodal_embeddings):
            mrope_positions = self.eos_placed(
                ids == image_token(self.config), multimodal_embeddings, mrope_positions, base_3s[0], num_computed_tokens
            )
        return multimodal_embeddings, mrope_positions, delta
