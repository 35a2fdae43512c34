"""Qwen2.5-VL in vLLM, its pictures of any size reduced before the language model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import PromptReplacement

from eos_platform.serve.vllm import places
from eos_platform.serve.vllm.asked import Asking
from eos_platform.serve.vllm.reduction import Reduction
from eos_platform.serve.vllm.served import Reducing

AXES = 3


class EosQwenInfo(Qwen2_5_VLProcessingInfo):
    """What is known of pictures before they are looked at."""

    @cached_property
    def reduction(self) -> Reduction | None:
        """The operator that is served."""
        return Reduction.named_by(self.get_hf_config(), AXES)


class EosQwenProcessor(Asking, Qwen2_5_VLMultiModalProcessor):
    """As many places as the operator leaves of a grid; tells the question, and keeps caches apart."""

    apart = True

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any) -> Any:
        updates = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)
        reduction = self.reduction
        if reduction is None:
            return updates
        merge = self.info.get_hf_config().vision_config.spatial_merge_size

        def shrunk(item: int, token: int) -> list[int]:
            _, rows, columns = out_mm_kwargs["image"][item]["image_grid_thw"].data.tolist()
            return [token] * reduction.of_grid((rows // merge, columns // merge)).kept

        return [
            PromptReplacement(modality="image", target=one.target, replacement=partial(shrunk, token=one.target[0]))
            if one.modality == "image"
            else one
            for one in updates
        ]


@MULTIMODAL_REGISTRY.register_processor(EosQwenProcessor, info=EosQwenInfo, dummy_inputs=Qwen2_5_VLDummyInputsBuilder)
class EosQwen2_5_VLForConditionalGeneration(Reducing, Qwen2_5_VLForConditionalGeneration):
    """vLLM's Qwen2.5-VL with an operator."""

    axes = AXES

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Pictures as the language model gets them, numbers of their own behind each token (``reduction.py``)."""
        if self.eos_served is None:
            return super().embed_multimodal(**kwargs)
        text = self.eos_text(kwargs, next(self.language_model.parameters()).device)
        image = self._parse_and_validate_image_input(**kwargs)
        if image is None:
            return []
        merge, made = self.visual.spatial_merge_size, []
        grids = image["image_grid_thw"].tolist()
        for number, (x_nd, (_, rows, columns)) in enumerate(zip(self._process_image_input(image), grids, strict=True)):
            its = None if text is None else (text[0][number : number + 1], text[1][number : number + 1])
            if its is None and self.eos_served.reads_text:
                its = x_nd.new_zeros(1, 1, x_nd.shape[-1]), torch.ones(1, 1, device=x_nd.device) > 0
            made.append(self.eos_served(x_nd[None], (rows // merge, columns // merge), {}, its)[0])
        return tuple(made)

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """Positions before pictures were seen; a picture takes up as many as its longer side has tokens."""
        if self.eos_served is None:
            return super().get_mrope_input_positions(input_tokens, mm_features)
        spans = [
            places.Span(offset, self.eos_served.of_grid((rows, columns)).kept, max(rows, columns))
            for offset, _, rows, columns, _ in self.iter_mm_grid_thw(mm_features)
        ]
        return places.begun(len(input_tokens), spans)

    def recompute_mrope_positions(
        self, input_ids: Any, multimodal_embeddings: Sequence[Tensor], mrope_positions: Tensor, num_computed_tokens: int
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Positions once the pictures of a piece of the prompt were seen."""
        if self.eos_served is None:
            return super().recompute_mrope_positions(
                input_ids, multimodal_embeddings, mrope_positions, num_computed_tokens
            )
        ids = torch.as_tensor(input_ids).cpu()
        visual_s = ids == self.config.image_token_id
        delta = self._delta(mrope_positions, visual_s)
        if len(multimodal_embeddings):
            place_ra = self.places_of(multimodal_embeddings)
            where = visual_s.nonzero()[:, 0]
            where = where[where >= num_computed_tokens][: len(place_ra)]
            mrope_positions = places.seen(mrope_positions, places.bases(mrope_positions, visual_s), where, place_ra)
        return multimodal_embeddings, mrope_positions, delta

    def _delta(self, position_3s: Tensor, visual_s: Tensor) -> int:
        """How far later positions are ahead of their count: known from the last token, which is text."""
        return int(position_3s[0, -1]) + 1 - len(visual_s)
