"""What a model of vLLM does besides, with an operator (mixed in before its class)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos_platform.serve.vllm import places
from eos_platform.serve.vllm.asked import FIELD, text_of
from eos_platform.serve.vllm.inside import Inside
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
        layers = self.decoder.layers
        # heads of a width that this machine's kernels lack become wider, too: the bundled Qwen has 40
        if (served is not None and served.plan.biased) or lacks_width(layers):
            self._bias_s = carry_sizes(layers, vllm_config)
        self.eos_inside: Inside | None = None
        if served is not None and any(layer > 0 for layer in served.plan.by_layer):
            self.eos_inside = Inside(served.plan, self.decoder, self.config.text_config, self._bias_s)

    @property
    def decoder(self) -> Any:
        """The language model's body: its embeddings and layers."""
        return self.language_model.model

    def eos_text(self, kwargs: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor] | None:
        """The questions of pictures, taken out of what vLLM hands over."""
        asked = kwargs.pop(FIELD, None)
        if self.eos_served is None or not self.eos_served.reads_text:
            return None
        if asked is None:  # pictures made up to measure memory
            return None
        return text_of(asked, self.decoder.embed_input_ids, device)

    def eos_questions(
        self, text: tuple[Tensor, Tensor] | None, which_u: Tensor, x_und: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """The question of each unit; of zeros where pictures are made up; None where no question decides.

        Args:
            text: the questions of pictures, as ``eos_text`` gave them.
            which_u: the picture that each unit is of.
            x_und: units.
        """
        assert self.eos_served is not None
        if text is not None:
            return text[0][which_u], text[1][which_u]
        if self.eos_served.reads_text:
            u, d = len(x_und), x_und.shape[-1]
            return x_und.new_zeros(u, 1, d), torch.ones(u, 1, device=x_und.device) > 0
        return None

    def eos_placed(
        self, visual_s: Tensor, embeddings: Sequence[Tensor], position_3s: Tensor, base_s: Tensor, computed: int
    ) -> Tensor:
        """Positions with those of tokens whose pictures were seen.

        Args:
            visual_s: which tokens of the prompt are visual.
            embeddings: of those from the piece on that is computed now, as ``embed_multimodal`` gave them.
            position_3s: of the prompt.
            base_s: what the places behind the embeddings are counted from.
            computed: tokens before the piece.
        """
        place_ra = self.places_of(embeddings)
        where = visual_s.nonzero()[:, 0]
        where = where[where >= computed][: len(place_ra)]
        return places.seen(position_3s, base_s, where, place_ra)

    def eos_recomputed(
        self, visual_s: Tensor, embeddings: Sequence[Tensor], position_3s: Tensor, computed: int
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """What ``recompute_mrope_positions`` returns, where every picture has text before and behind it.

        A picture's first position is then found from the text before, and how far later positions are ahead of their
        count from the last token.
        """
        delta = int(position_3s[0, -1]) + 1 - len(visual_s)
        if len(embeddings):
            base_s = places.bases(position_3s, visual_s)
            position_3s = self.eos_placed(visual_s, embeddings, position_3s, base_s, computed)
        return embeddings, position_3s, delta

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
        if self.eos_inside is not None and found:
            assert is_multimodal is not None
            row_re = torch.cat(found)
            told_3s = torch.zeros(BEHIND - 1, len(input_ids))
            told_3s[:, is_multimodal] = row_re[:, self._width + 1 : self._width + BEHIND].T.float()
            self.eos_inside.tell(is_multimodal, *told_3s)
        made: Tensor = super().embed_input_ids(  # type: ignore[misc]
            input_ids, [self.eos_plain(one) for one in found] or None, is_multimodal=is_multimodal
        )
        return made

    def places_of(self, embeddings: Sequence[Tensor]) -> Tensor:
        """Where tokens of pictures stand (r, a), as told behind their embeddings."""
        first = self._width + BEHIND
        return torch.cat([one[:, first : first + self.axes] for one in embeddings]).round().long().cpu()

    def eos_plain(self, row_re: Tensor) -> Tensor:
        """A picture's tokens as vLLM's model expects them, without the numbers behind."""
        return row_re[:, : self._width]
