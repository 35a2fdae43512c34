"""LLaVA-1.5 in vLLM, its pictures reduced before the language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.model_executor.models.llava import (
    LlavaDummyInputsBuilder,
    LlavaForConditionalGeneration,
    LlavaMultiModalProcessor,
    LlavaProcessingInfo,
)
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

from eos_platform.common.errors import EosError
from eos_platform.models.attention.vision_queries import read_block
from eos_platform.serve.vllm.asked import Asking
from eos_platform.serve.vllm.one_axis import EqualUnits, Informed

PARTS = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.", "head.")


def tower_mapper(kind: Any) -> WeightsMapper:
    """The names of weights that a class of vLLM knows, and those of a tower as transformers 5.2 saves it."""
    return kind.hf_to_vllm_mapper | WeightsMapper(
        orig_to_new_prefix={
            f"{at}vision_tower.{part}": f"vision_tower.vision_model.{part}" for at in ("", "model.") for part in PARTS
        }
    )


class EosLlavaInfo(Informed, LlavaProcessingInfo):
    """With the operator."""

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        """Places in the prompt, slots of the cache and the scheduler's budget all follow from this."""
        if self.reduction is not None:
            return self.reduction.usual.kept
        return super().get_num_image_tokens(image_width=image_width, image_height=image_height)


class EosLlavaProcessor(Asking, LlavaMultiModalProcessor):
    """Tells the question, and keeps caches apart."""


@MULTIMODAL_REGISTRY.register_processor(EosLlavaProcessor, info=EosLlavaInfo, dummy_inputs=LlavaDummyInputsBuilder)
class EosLlavaForConditionalGeneration(EqualUnits, LlavaForConditionalGeneration):
    """vLLM's LLaVA with an operator."""

    hf_to_vllm_mapper = tower_mapper(LlavaForConditionalGeneration)

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._seen: dict[str, Tensor] = {}
        if self.eos_served is not None and self.eos_served.plan.tower_features:
            if vllm_config.parallel_config.tensor_parallel_size > 1:
                raise EosError("features of the vision tower are not read where its heads are spread over devices")
            last = self.vision_tower.vision_model.encoder.layers[-1]  # none is built after the last one used
            last.self_attn.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, module: Any, args: Any, kwargs: Any) -> None:
        assert self.eos_served is not None
        x_mkd = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        self._seen = read_block(_Apart(module), x_mkd, self.eos_served.plan.tower_features)

    def eos_seen(self) -> dict[str, Tensor]:
        """By the hook on the tower's last block."""
        return {name: values.float() for name, values in self._seen.items()}


class _Apart:
    """A module of attention whose projections are one, as one that has them apart."""

    def __init__(self, module: Any) -> None:
        self.module, self.head_dim = module, module.head_dim

    def q_proj(self, x_mkd: Tensor) -> Tensor:
        """Queries."""
        return self.module.qkv_proj(x_mkd)[0].chunk(3, -1)[0]

    def k_proj(self, x_mkd: Tensor) -> Tensor:
        """Keys."""
        return self.module.qkv_proj(x_mkd)[0].chunk(3, -1)[1]
