"""Idefics3 and SmolVLM in vLLM: tiles of a picture, each reduced by itself, and words that say where they stand."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.models.idefics3 import (
    Idefics3DummyInputsBuilder,
    Idefics3ForConditionalGeneration,
    Idefics3MultiModalProcessor,
    Idefics3ProcessingInfo,
)
from vllm.model_executor.models.smolvlm import SmolVLMForConditionalGeneration, SmolVLMProcessingInfo
from vllm.multimodal import MULTIMODAL_REGISTRY

from eos_platform.serve.vllm.one_axis import EqualUnits, Informed, TiledAsking


class EosIdefics3Info(Informed, Idefics3ProcessingInfo):
    """With the operator."""


class EosSmolVLMInfo(Informed, SmolVLMProcessingInfo):
    """With the operator."""


class EosIdefics3Processor(TiledAsking, Idefics3MultiModalProcessor):
    """With the operator."""


class Tiled(EqualUnits):
    """What both have in common: a language model that is a part of ``model``."""

    supports_encoder_cudagraph = False  # graphs of the tower go around ``embed_multimodal``
    model: Any

    @property
    def decoder(self) -> Any:
        """The language model's body."""
        return self.model.text_model


@MULTIMODAL_REGISTRY.register_processor(
    EosIdefics3Processor, info=EosIdefics3Info, dummy_inputs=Idefics3DummyInputsBuilder
)
class EosIdefics3ForConditionalGeneration(Tiled, Idefics3ForConditionalGeneration):
    """vLLM's Idefics3 with an operator."""


@MULTIMODAL_REGISTRY.register_processor(
    EosIdefics3Processor, info=EosSmolVLMInfo, dummy_inputs=Idefics3DummyInputsBuilder
)
class EosSmolVLMForConditionalGeneration(Tiled, SmolVLMForConditionalGeneration):
    """vLLM's SmolVLM with an operator."""
