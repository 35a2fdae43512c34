"""LLaVA-NeXT and LLaVA-OneVision in vLLM: the whole picture, and what its tiles show, each reduced by itself.

What the tiles show has as many rows and columns as the picture's size says, so that counts are known before it is
looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.llava import LlavaDummyInputsBuilder
from vllm.model_executor.models.llava_next import (
    LlavaNextForConditionalGeneration,
    LlavaNextMultiModalProcessor,
    LlavaNextProcessingInfo,
)
from vllm.model_executor.models.llava_onevision import (
    LlavaOnevisionDummyInputsBuilder,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionMultiModalProcessor,
    LlavaOnevisionProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from eos_platform.models.adapters.anyres import AnyRes, LlavaNext, LlavaOnevision
from eos_platform.models.runtime.visual_spans import MediaItem
from eos_platform.serve.vllm import places
from eos_platform.serve.vllm.asked import Asking
from eos_platform.serve.vllm.llava import tower_mapper
from eos_platform.serve.vllm.one_axis import Informed, OneAxis
from eos_platform.serve.vllm.reduction import BEHIND, Reduction
from eos_platform.serve.vllm.units import image_token

SIZES = "image_sizes"  # height and width of every picture, as vLLM's processor hands them on


def kept_of(reduction: Reduction, item: MediaItem) -> int:
    """Visual tokens left of a picture."""
    return sum(reduction.of_grid(grid).kept for grid in item.grids) + item.rest


def extent_of(reduction: Reduction, item: MediaItem) -> int:
    """Positions that a picture takes up."""
    return sum(reduction.of_grid(grid).extent for grid in item.grids) + item.rest


class EosAnyResInfo(Informed):
    """What is known of pictures before they are looked at."""

    family: AnyRes

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        """Places in the prompt, slots of the cache and the scheduler's budget all follow from this."""
        if self.reduction is None:
            found: int = super().get_num_image_tokens(  # type: ignore[misc]
                image_width=image_width, image_height=image_height
            )
            return found
        config = self.get_hf_config()  # type: ignore[attr-defined]
        return kept_of(self.reduction, self.family.item(config, image_height, image_width))


class EosLlavaNextInfo(EosAnyResInfo, LlavaNextProcessingInfo):
    """With the operator."""

    family = LlavaNext()


class EosLlavaOnevisionInfo(EosAnyResInfo, LlavaOnevisionProcessingInfo):
    """With the operator."""

    family = LlavaOnevision()
    # vLLM's is a fixed one, of the published models' tiles; the cache of encoded pictures follows from it
    get_image_size_with_most_features = LlavaNextProcessingInfo.get_image_size_with_most_features


class EosLlavaNextProcessor(Asking, LlavaNextMultiModalProcessor):
    """With the operator."""


class EosLlavaOnevisionProcessor(Asking, LlavaOnevisionMultiModalProcessor):
    """With the operator."""


class TwoUnits(OneAxis):
    """What both models have in common."""

    family: AnyRes

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Pictures as the language model gets them, numbers of their own behind each token (``reduction.py``)."""
        text = self.eos_text(kwargs, next(self.decoder.parameters()).device)
        given = super().embed_multimodal(**kwargs)  # type: ignore[misc]
        if self.eos_served is None or not len(given):
            return given
        sizes = torch.as_tensor(kwargs[SIZES]).reshape(-1, 2).tolist()
        made = []
        for number, (x_nd, size) in enumerate(zip(given, sizes, strict=True)):
            its = self.eos_questions(text, torch.tensor([number], device=x_nd.device), x_nd[None])
            made.append(self._reduced(x_nd, self.family.item(self.config, *size), its))
        return tuple(made)

    def _reduced(self, x_nd: Tensor, item: MediaItem, text: tuple[Tensor, Tensor] | None) -> Tensor:
        """A picture's units one behind the other, places counted from its first token on; then its line's end."""
        assert self.eos_served is not None
        made, begin, extent = [], 0, 0
        for grid in item.grids:
            tokens = grid[0] * grid[1]
            row_re = self.eos_served(x_nd[None, begin : begin + tokens], grid, {}, text)[0]
            row_re[:, -1] += extent
            made.append(row_re)
            begin, extent = begin + tokens, extent + self.eos_served.of_grid(grid).extent
        rest_rd = x_nd[begin:].float()
        place_r = extent + torch.arange(len(rest_rd), device=x_nd.device)
        made.append(torch.cat((rest_rd, rest_rd.new_zeros(len(rest_rd), BEHIND), place_r[:, None]), -1))
        return torch.cat(made)

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """Positions before pictures were seen."""
        assert self.eos_served is not None
        spans = []
        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            item = self.family.item(self.config, *feature.data[SIZES].data.flatten().tolist())
            spans.append(
                places.Span(
                    feature.mm_position.offset, kept_of(self.eos_served, item), extent_of(self.eos_served, item)
                )
            )
        return places.noted(len(input_tokens), spans)

    def recompute_mrope_positions(
        self, input_ids: Any, multimodal_embeddings: Sequence[Tensor], mrope_positions: Tensor, num_computed_tokens: int
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Positions once the pictures of a piece of the prompt were seen."""
        delta = int(mrope_positions[2, -1]) - len(input_ids)
        if len(multimodal_embeddings):
            visual_s = torch.as_tensor(input_ids).cpu() == image_token(self.config)
            base_s, note_2s = mrope_positions[1].cpu(), mrope_positions[1:].clone()
            mrope_positions = self.eos_placed(
                visual_s, multimodal_embeddings, mrope_positions, base_s, num_computed_tokens
            )
            mrope_positions[1:] = note_2s
        return multimodal_embeddings, mrope_positions, delta


@MULTIMODAL_REGISTRY.register_processor(
    EosLlavaNextProcessor, info=EosLlavaNextInfo, dummy_inputs=LlavaDummyInputsBuilder
)
class EosLlavaNextForConditionalGeneration(TwoUnits, LlavaNextForConditionalGeneration):
    """vLLM's LLaVA-NeXT with an operator."""

    family = LlavaNext()
    hf_to_vllm_mapper = tower_mapper(LlavaNextForConditionalGeneration)


@MULTIMODAL_REGISTRY.register_processor(
    EosLlavaOnevisionProcessor, info=EosLlavaOnevisionInfo, dummy_inputs=LlavaOnevisionDummyInputsBuilder
)
class EosLlavaOnevisionForConditionalGeneration(TwoUnits, LlavaOnevisionForConditionalGeneration):
    """vLLM's LLaVA-OneVision with an operator."""

    family = LlavaOnevision()
    hf_to_vllm_mapper = tower_mapper(LlavaOnevisionForConditionalGeneration)
