"""Qwen2.5-VL and Qwen3-VL in vLLM, their pictures of any size reduced before the language model.

Legend: n visual tokens of a picture, r that stay, d width, l levels of deepstack features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.model_executor.models.qwen3_vl import (
    Qwen3VLDummyInputsBuilder,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMultiModalProcessor,
    Qwen3VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import PromptReplacement

from eos_platform.serve.vllm import places
from eos_platform.serve.vllm.asked import Asking
from eos_platform.serve.vllm.reduction import BEHIND, Reduction
from eos_platform.serve.vllm.served import Reducing

AXES = 3
GRID = "image_grid_thw"  # of patches, as vLLM's processor hands it on


class QwenInformed:
    """What is known of pictures before they are looked at."""

    @cached_property
    def reduction(self) -> Reduction | None:
        """The operator that is served."""
        return Reduction.named_by(self.get_hf_config(), AXES)  # type: ignore[attr-defined]


class EosQwenInfo(QwenInformed, Qwen2_5_VLProcessingInfo):
    """With the operator."""


class EosQwen3Info(QwenInformed, Qwen3VLProcessingInfo):
    """With the operator."""


class QwenAsking(Asking):
    """As many places as the operator leaves of a grid; tells the question, and keeps caches apart."""

    apart = True

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any) -> Any:
        updates = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)  # type: ignore[misc]
        reduction, config = self.reduction, self.info.get_hf_config()
        if reduction is None:
            return updates
        merge = config.vision_config.spatial_merge_size

        def shrunk(item: int) -> list[int]:
            _, rows, columns = out_mm_kwargs["image"][item][GRID].data.tolist()
            return [config.image_token_id] * reduction.of_grid((rows // merge, columns // merge)).kept

        return [
            PromptReplacement(modality="image", target=one.target, replacement=shrunk)
            if one.modality == "image"
            else one
            for one in updates
        ]


class EosQwenProcessor(QwenAsking, Qwen2_5_VLMultiModalProcessor):
    """With the operator."""


class EosQwen3Processor(QwenAsking, Qwen3VLMultiModalProcessor):
    """With the operator."""


class AnyGrid(Reducing):
    """What both models have in common."""

    axes = AXES
    visual: Any

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Pictures as the language model gets them, numbers of their own behind each token (``reduction.py``)."""
        if self.eos_served is None:
            return super().embed_multimodal(**kwargs)  # type: ignore[misc]
        text = self.eos_text(kwargs, next(self.decoder.parameters()).device)
        image = self._parse_and_validate_image_input(**kwargs)  # type: ignore[attr-defined]
        if image is None:
            return []
        made = []
        for number, (x_ne, grid) in enumerate(
            zip(self._process_image_input(image), image[GRID].tolist(), strict=True)  # type: ignore[attr-defined]
        ):
            which_u = torch.tensor([number], device=x_ne.device)
            its = self.eos_questions(text, which_u, x_ne[None, :, : self._width])
            made.append(self._reduced(x_ne, self._merged(grid), its))
        return tuple(made)

    def _reduced(self, x_ne: Tensor, grid: tuple[int, int], text: tuple[Tensor, Tensor] | None) -> Tensor:
        """Behind what ``Reduction`` returns: deepstack features (r, l d), if there are any, of each token its own."""
        assert self.eos_served is not None
        x_nd, deep_nf = x_ne[:, : self._width], x_ne[:, self._width :]
        row_re = self.eos_served(x_nd[None], grid, {}, text)[0]
        if not deep_nf.shape[1]:
            return row_re
        _, row_r, column_r = row_re[:, self._width + BEHIND :].round().long().unbind(1)
        return torch.cat((row_re, deep_nf[row_r * grid[1] + column_r].float()), -1)

    def eos_plain(self, row_re: Tensor) -> Tensor:
        """As vLLM's model expects a picture's tokens: with their deepstack features behind."""
        if self.eos_served is None:
            return row_re
        return torch.cat((row_re[:, : self._width], row_re[:, self._width + BEHIND + AXES :]), -1)

    def _merged(self, grid: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of visual tokens."""
        merge = int(self.config.vision_config.spatial_merge_size)
        return int(grid[1]) // merge, int(grid[2]) // merge

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """Positions before pictures were seen; a picture takes up as many as its longer side has tokens."""
        if self.eos_served is None:
            found: tuple[Tensor, int] = super().get_mrope_input_positions(input_tokens, mm_features)  # type: ignore[misc]
            return found
        spans = []
        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            grid = self._merged(feature.data[GRID].data.tolist())
            spans.append(places.Span(feature.mm_position.offset, self.eos_served.of_grid(grid).kept, max(grid)))
        return places.begun(len(input_tokens), spans)

    def recompute_mrope_positions(
        self, input_ids: Any, multimodal_embeddings: Sequence[Tensor], mrope_positions: Tensor, num_computed_tokens: int
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Positions once the pictures of a piece of the prompt were seen."""
        if self.eos_served is None:
            told: tuple[Sequence[Tensor], Tensor, int] = super().recompute_mrope_positions(  # type: ignore[misc]
                input_ids, multimodal_embeddings, mrope_positions, num_computed_tokens
            )
            return told
        visual_s = torch.as_tensor(input_ids).cpu() == self.config.image_token_id
        return self.eos_recomputed(visual_s, multimodal_embeddings, mrope_positions, num_computed_tokens)


@MULTIMODAL_REGISTRY.register_processor(EosQwenProcessor, info=EosQwenInfo, dummy_inputs=Qwen2_5_VLDummyInputsBuilder)
class EosQwen2_5_VLForConditionalGeneration(AnyGrid, Qwen2_5_VLForConditionalGeneration):
    """vLLM's Qwen2.5-VL with an operator."""


@MULTIMODAL_REGISTRY.register_processor(EosQwen3Processor, info=EosQwen3Info, dummy_inputs=Qwen3VLDummyInputsBuilder)
class EosQwen3VLForConditionalGeneration(AnyGrid, Qwen3VLForConditionalGeneration):
    """vLLM's Qwen3-VL with an operator."""

    supports_encoder_cudagraph = False  # graphs of the tower go around ``embed_multimodal``
