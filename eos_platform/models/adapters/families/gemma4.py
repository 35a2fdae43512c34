"""Gemma 4, those models whose layers each have their own keys: the large ones, with experts or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Call, Parts, encoded
from eos_platform.models.adapters.fixed import PaliGemma
from eos_platform.models.runtime.visual_spans import Grid, MediaItem

USUAL = (16, 16)  # of at most 280 tokens, as processors have it unless told otherwise


class Gemma4(PaliGemma):
    """Images of any size; windows in most layers, whose heads are narrower; both ways among an image's tokens."""

    name = "Gemma 4"
    model_types = ("gemma4",)
    varies = True
    squares = False
    whole = 0
    rope_by_kind = True
    projectors = ("embed_vision",)
    answer_lead = " "
    answers_typed: ClassVar[Mapping[str, int]] = {}

    def parts(self, model: Any) -> Parts:
        """The parts of a Gemma 4.

        Raises:
            EosError: layers share keys, or are handed more than hidden states.
        """
        config = model.config.get_text_config()
        if config.num_kv_shared_layers or config.hidden_size_per_layer_input:
            raise EosError(
                f"{type(model).__name__}: its layers read the keys of earlier ones, or are handed embeddings of their"
                " own, as those of the small Gemma 4 (E2B, E4B) are: operators attach to the large ones alone"
            )
        return super().parts(model)

    def grid(self, config: Any) -> Grid:
        """Sizes vary; 256 tokens are taken as usual."""
        return USUAL

    def grid_module(self, parts: Parts) -> Any | None:
        """The tower is told where every patch stands."""
        return parts.tower

    def captured_grids(self, call: Call) -> Any:
        """Columns and rows of patches; padding stands at -1."""
        return (call["pixel_position_ids"].amax(1) + 1).tolist()

    def sizes(self, call: Call) -> Sequence[Any]:
        """The same, as the model's processor says."""
        places = call.get("image_position_ids")
        return [] if places is None else [(places.amax(1) + 1).tolist()]

    def media_items(self, parts: Parts, call: Call, captured: Sequence[Any]) -> Mapping[str, Sequence[MediaItem]]:
        """Patches, pooled into fewer.

        Raises:
            EosError: a film.
        """
        if call.get("pixel_values_videos") is not None or encoded(call, "video") is not None:
            raise EosError("films of Gemma 4 are not supported by operators; show it pictures")
        if call.get("pixel_values") is None and encoded(call) is None:
            return {}
        side = int(parts.body.config.vision_config.pooling_kernel_size)
        return {"image": [MediaItem(((rows // side, columns // side),)) for columns, rows in captured[-1]]}

    def single_image(self, parts: Parts, call: Call) -> bool:
        """Sizes vary."""
        return False

    def positions_of(self, call: Call, position: Any) -> Any:
        """From 0."""
        return position
