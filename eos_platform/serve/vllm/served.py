"""What a model of vLLM does besides, with an operator (mixed in before its class)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos_platform.serve.vllm.asked import FIELD, text_of
from eos_platform.serve.vllm.reduction import BEHIND, Reduction
from eos_platform.serve.vllm.spare import carry_sizes, lacks_width


class Reducing:
    """Pictures' embeddings reduced, their biases brought to attention, their positions told.

    Attributes:
        eos_served: the operator; None: the model is served unreduced.
    """

    supports_mrope = True
    supports_multimodal_pruning = True
    supported_video_pruning_methods = ("evs",)
    axes = 1
    config: Any
    language_model: Any
    eos_served: Reduction | None

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        served = Reduction.named_by(self.config, self.axes)
        self.eos_served = served
        self._width = int(self.config.text_config.hidden_size)
        self._bias_s: Tensor | None = None
        layers = self.language_model.model.layers
        # heads of a width that this machine's kernels lack become wider, too: the bundled Qwen has 40
        if (served is not None and served.usual.sized) or lacks_width(layers):
            self._bias_s = carry_sizes(layers, vllm_config)

    def eos_text(self, kwargs: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor] | None:
        """The questions of pictures, taken out of what vLLM hands over."""
        asked = kwargs.pop(FIELD, None)
        if self.eos_served is None or not self.eos_served.reads_text:
            return None
        if asked is None:  # pictures made up to measure memory
            return None
        return text_of(asked, self.language_model.embed_input_ids, device)

    def embed_input_ids(
        self, input_ids: Tensor, multimodal_embeddings: Any = None, *, is_multimodal: Tensor | None = None
    ) -> Tensor:
        """Embeddings (s, d) of a step's tokens; biases that ride behind those of pictures are kept for its layers."""
        found = list(multimodal_embeddings) if multimodal_embeddings is not None else []
        if self._bias_s is not None:
            self._bias_s.zero_()
            if found and self.eos_served is not None:
                assert is_multimodal is not None
                where = is_multimodal.to(self._bias_s.device).nonzero()[:, 0]
                self._bias_s[where] = torch.cat([one[:, self._width] for one in found]).to(self._bias_s)
        made: Tensor = super().embed_input_ids(  # type: ignore[misc]
            input_ids, [one[:, : self._width] for one in found] or None, is_multimodal=is_multimodal
        )
        return made

    def places_of(self, embeddings: Sequence[Tensor]) -> Tensor:
        """Where tokens of pictures stand (r, a), as told behind their embeddings."""
        return torch.cat([one[:, self._width + BEHIND :] for one in embeddings]).round().long().cpu()
