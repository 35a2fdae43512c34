"""InternVL (HF) in vLLM: tiles of a picture in one run, reduced one by one."""

from __future__ import annotations

from vllm.model_executor.models.interns1 import (
    InternS1DummyInputsBuilder,
    InternS1ForConditionalGeneration,
    InternS1MultiModalProcessor,
    InternS1ProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from eos_platform.serve.vllm.one_axis import EqualUnits, Informed, TiledAsking


class EosInternVLInfo(Informed, InternS1ProcessingInfo):
    """With the operator."""


class EosInternVLProcessor(TiledAsking, InternS1MultiModalProcessor):
    """With the operator."""


@MULTIMODAL_REGISTRY.register_processor(
    EosInternVLProcessor, info=EosInternVLInfo, dummy_inputs=InternS1DummyInputsBuilder
)
class EosInternVLForConditionalGeneration(EqualUnits, InternS1ForConditionalGeneration):
    """vLLM's InternVL with an operator."""
