"""One model as search, evaluation and analysis know it: prompts in, hidden states and logits out, whatever its family.

    adapter = adapter_of(model)
    prefill = adapter.encode(inputs)            # what the model's own body hands its language model
    hidden_bsd = adapter.forward(prefill)       # with whatever operator is at work on the model
    logits_bsv = adapter.logits(hidden_bsd)     # by the model's own head

Legend: b batch, s sequence, d width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import family_of
from eos_platform.models.adapters.base import Family, Parts
from eos_platform.models.adapters.hooks import parameters
from eos_platform.models.adapters.prefill import Mask, Prefill, caught, caught_prefill
from eos_platform.models.attention.rope import Rope
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.loading.devices import device_of, moved
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.image_call import image_call_of, units_of
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.prompt_state import assemble
from eos_platform.models.runtime.registry import refuse_taken


@dataclass(frozen=True)
class Capabilities:
    """What can be done with a family of models.

    Attributes:
        relaxable: a search can run on it.
        tower: attention inside the vision tower is read, and operators have sites there.
        varies: images differ in their number of visual tokens.
        renumber: positions can be counted anew.
        kinds: of attention, the decoder's layers have.
        modalities: that it sees.
    """

    relaxable: bool
    tower: bool
    varies: bool
    renumber: bool
    kinds: tuple[str, ...]
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class LayerInputs:
    """What a decoder layer is handed beside hidden states: by its own kind of attention."""

    mask: Tensor | None
    rope: Rope


@dataclass(frozen=True)
class Adapter:
    """A model (itself, nothing around it), and its parts by its family's own names."""

    model: Any
    family: Family
    parts: Parts

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with the model."""
        family, parts = self.family, self.parts
        return Capabilities(
            relaxable=family.relaxable,
            tower=family.reads_tower,
            varies=family.varies,
            renumber=family.axes == 1,
            kinds=tuple(dict.fromkeys(parts.kinds)),
            modalities=("image",) if parts.video_token is None else ("image", "video"),
        )

    @property
    def width(self) -> int:
        """Of a token's hidden state."""
        return int(self.parts.language_model.config.hidden_size)

    @property
    def home(self) -> torch.device:
        """Where words are embedded: of a model that is spread over devices, where prompts begin."""
        return device_of(self.model.get_input_embeddings(), self.model.device)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what ``encode`` takes."""
        return parameters(type(self.parts.body).forward)

    @torch.no_grad()
    def encode(self, inputs: Mapping[str, Any], answer_bs: Tensor | None = None) -> Prefill:
        """What the model's own body makes of prompts, up to the language model, which does not run.

        Args:
            inputs: as the model's processor makes them; instead of pictures, ``mm_encoder_outputs`` may hold what
                ``images`` made of them.
            answer_bs: bool, supervised tokens; what follows the first of them after the images is no prompt.

        Raises:
            EosError: an operator is attached, or the prompts of the batch are not alike in their images.
        """
        refuse_taken(self.model)
        call = {name: value for name, value in inputs.items() if name in self.inputs and value is not None}
        layout = self.layout(call, answer_bs)
        return caught_prefill(self.parts, call, layout, lambda given: self.parts.body(**given, use_cache=False))

    def layout(self, inputs: Mapping[str, Any], answer_bs: Tensor | None = None) -> Layout:
        """Where visual tokens and text stand in prompts that are alike in their images.

        Raises:
            EosError: they are not alike, or hold no images.
        """
        call = dict(inputs)
        image_call = image_call_of(call, answer_bs)
        if image_call is None:
            raise EosError("these prompts come without images")
        kinds = units_of(self.parts, image_call, self.family.sizes(call))
        valid_bs = torch.ones_like(kinds[0][0]) if image_call.mask_bs is None else image_call.mask_bs.bool()
        place_1s = torch.arange(valid_bs.shape[1], device=valid_bs.device)[None]
        state = assemble(kinds, valid_bs, place_1s, answer_bs)
        batch = len(valid_bs)
        units, places = [], []
        for group in state.groups:
            many, rest = divmod(len(group.units), batch)
            if rest or any(unit.row != number // many for number, unit in enumerate(group.units)):
                raise EosError("the prompts of a batch must be alike in how many images they hold, and of which sizes")
            units.append(((group.grid[-2], group.grid[-1]), many))
            places.append(group.place_un.reshape(batch, -1))
        if not units:
            raise EosError("these prompts hold no visual tokens to reduce")
        return Layout(torch.cat(places, 1), state.text_bk, state.last_b, valid_bs, units=tuple(units))

    @torch.no_grad()
    def images(self, inputs: Mapping[str, Any]) -> Any:
        """Pictures through vision tower and projector: what ``mm_encoder_outputs["image"]`` may be.

        Args:
            inputs: as the model's processor makes them.
        """
        run = self.parts.body.get_image_features
        names = parameters(type(self.parts.body).get_image_features)
        call = {name: value for name, value in inputs.items() if name in names and value is not None}
        return run(**call, return_dict=True)

    def forward(self, prefill: Prefill, mask: Mask = None) -> Tensor:
        """Hidden states after the final norm (b, s, d), with whatever operator is at work on the model.

        Args:
            prefill: the prompts.
            mask: instead of theirs.
        """
        call = prefill.call()
        if mask is not None:
            call["attention_mask"] = mask
        hidden_bsd: Tensor = self.parts.language_model(**call, use_cache=False).last_hidden_state
        return hidden_bsd

    def states_at(self, place_bq: Tensor, prefill: Prefill, mask: Mask = None) -> Tensor:
        """What ``forward`` gives at some places (b, q, d), on the device of these, however the model is spread."""
        hidden_bsd = self.forward(prefill, mask)
        index_bq1 = moved(place_bq, hidden_bsd.device)[..., None]
        return moved(hidden_bsd.gather(1, index_bq1.expand(-1, -1, hidden_bsd.shape[-1])), place_bq.device)

    def logits(self, hidden_bsd: Tensor) -> Tensor:
        """The model's own logits of hidden states after the final norm, with any scaling and capping it does."""
        return moved(self.family.logits(self.model, hidden_bsd), hidden_bsd.device)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of words."""
        embedding: Tensor = self.model.get_input_embeddings()(ids)
        return embedding

    def start(self, prefill: Prefill) -> tuple[Tensor, Any]:
        """Logits of the last position (b, 1, v), and the cache that later steps go on from."""
        output = self.parts.language_model(**prefill.call(), use_cache=True)
        return self.logits(output.last_hidden_state[:, -1:]), cache_of(output)

    def step(self, x_bsd: Tensor, cache: Any) -> Tensor:
        """Logits of the last of some tokens more (b, 1, v)."""
        language_model = self.parts.language_model
        output = language_model(inputs_embeds=x_bsd, use_cache=True, **with_cache(language_model, cache))
        return self.logits(output.last_hidden_state[:, -1:])

    @torch.no_grad()
    def layer_inputs(self, prefill: Prefill, layer: int) -> LayerInputs:
        """What a decoder layer is handed; the layers before it run."""
        call = caught(self.parts.layers[layer], lambda: self.forward(prefill))
        return LayerInputs(call.get("attention_mask"), Rope(*call["position_embeddings"]))


def adapter_of(model: Any) -> Adapter:
    """The adapter of a model; an adapter is its own, so that who has one hands it on and it is not made again.

    Raises:
        EosError: of no family known here, or not built as its family is.
    """
    if isinstance(model, Adapter):
        return model
    model = unwrapped(model)
    family = family_of(model)
    return Adapter(model, family, family.parts(model))
