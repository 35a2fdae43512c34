"""LLaVA-1.5 in vLLM, its pictures reduced before the language model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
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
from eos_platform.serve.vllm import places
from eos_platform.serve.vllm.asked import Asking
from eos_platform.serve.vllm.reduction import Reduction
from eos_platform.serve.vllm.served import Reducing

PARTS = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")  # of a tower, as transformers 5.2 saves it


class EosLlavaInfo(LlavaProcessingInfo):
    """What is known of pictures before they are looked at."""

    @cached_property
    def reduction(self) -> Reduction | None:
        """The operator that is served."""
        return Reduction.named_by(self.get_hf_config())

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        """Places in the prompt, slots of the cache and the scheduler's budget all follow from this."""
        if self.reduction is not None:
            return self.reduction.usual.kept
        return super().get_num_image_tokens(image_width=image_width, image_height=image_height)


class EosLlavaProcessor(Asking, LlavaMultiModalProcessor):
    """Tells the question, and keeps caches apart."""


@MULTIMODAL_REGISTRY.register_processor(EosLlavaProcessor, info=EosLlavaInfo, dummy_inputs=LlavaDummyInputsBuilder)
class EosLlavaForConditionalGeneration(Reducing, LlavaForConditionalGeneration):
    """vLLM's LLaVA with an operator."""

    hf_to_vllm_mapper = LlavaForConditionalGeneration.hf_to_vllm_mapper | WeightsMapper(
        orig_to_new_prefix={
            f"{at}vision_tower.{part}": f"vision_tower.vision_model.{part}" for at in ("", "model.") for part in PARTS
        }
    )

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

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Pictures as the language model gets them, numbers of their own behind each token (``reduction.py``)."""
        text = self.eos_text(kwargs, next(self.language_model.parameters()).device)
        given = super().embed_multimodal(**kwargs)
        if self.eos_served is None or isinstance(given, list):
            return given
        x_mnd = torch.stack(tuple(given))
        if text is None and self.eos_served.reads_text:
            text = x_mnd.new_zeros(len(x_mnd), 1, x_mnd.shape[-1]), torch.ones(len(x_mnd), 1, device=x_mnd.device) > 0
        seen = {name: values.float() for name, values in self._seen.items()}
        return self.eos_served(x_mnd, self.eos_served.plan.operator.target.grid, seen, text)

    def forward(
        self, input_ids: Any, positions: Tensor, intermediate_tensors: Any = None, inputs_embeds: Any = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """As vLLM's; positions of three rows are three times the same."""
        if positions.ndim == 2:
            positions = positions[0]
        return super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)

    def _spans(self, ids: Sequence[int]) -> list[places.Span]:
        """Pictures of a prompt: equally many tokens each, so that they may follow one another."""
        assert self.eos_served is not None
        kept, extent, token = self.eos_served.usual.kept, self.eos_served.usual.extent, self.config.image_token_index
        there = (torch.as_tensor(ids) == token).nonzero()[:, 0][::kept].tolist()
        return [places.Span(start, kept, extent) for start in there]

    def get_mrope_input_positions(self, input_tokens: Sequence[int], mm_features: Any) -> tuple[Tensor, int]:
        """Positions before pictures were seen."""
        return places.begun(len(input_tokens), self._spans(input_tokens))

    def recompute_mrope_positions(
        self, input_ids: Any, multimodal_embeddings: Sequence[Tensor], mrope_positions: Tensor, num_computed_tokens: int
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Positions once the pictures of a piece of the prompt were seen."""
        ids = torch.as_tensor(input_ids).cpu()
        base_3s, delta = places.begun(len(ids), self._spans(ids.tolist()))
        if len(multimodal_embeddings):
            place_ra = self.places_of(multimodal_embeddings)
            where = (ids == self.config.image_token_index).nonzero()[:, 0]
            where = where[where >= num_computed_tokens][: len(place_ra)]
            mrope_positions = places.seen(mrope_positions, base_3s[0], where, place_ra)
        return multimodal_embeddings, mrope_positions, delta


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
