"""What a model's body hands its language model for a batch of prompts, caught on the way.

Nothing is rebuilt by hand: the body itself puts features among the words, finds positions, makes masks of both ways and
of windows. A hook in front of the language model takes the arguments and goes no further.
Legend: b batch, s sequence, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.deep import dense, given
from eos_platform.models.adapters.hooks import before, parameters
from eos_platform.models.runtime.layout import Layout

# said of a call, not of the prompts
ABOUT_THE_CALL = ("cache", "past_key_values", "use_cache", "return_dict", "logits_to_keep", "cache_position")
OF_ALL = ("visual_indicator_features",)  # what comes with pictures, and is the same with every one
Mask = Tensor | Mapping[str, Tensor] | None


@dataclass(frozen=True)
class Prefill:
    """Prompts as the language model gets them.

    Attributes:
        x_bsd: input embeddings.
        layout: where visual tokens and text stand.
        mask: as the body makes it: 2-D, 4-D, or one of each kind of attention; None: plainly causal.
        position: (b or 1, s), or with axes in front; None: counted from 0.
        deep: features added behind the first layers, whole sequences each.
        more: what else the language model is handed, by name.
    """

    x_bsd: Tensor
    layout: Layout
    mask: Mask = None
    position: Tensor | None = None
    deep: tuple[Tensor, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> dict[str, Any]:
        """Arguments of the language model."""
        arguments: dict[str, Any] = {"inputs_embeds": self.x_bsd, "attention_mask": self.mask}
        if self.position is not None:
            arguments["position_ids"] = self.position
        deep = given(list(self.deep)) if self.deep else {}
        return arguments | deep | dict(self.more)

    def until(self, length: int) -> Prefill:
        """The same prompts without what follows their first ``length`` tokens."""
        layout = self.layout
        layout = replace(layout, text_bs=layout.text_bs[:, :length], valid_bs=layout.valid_bs[:, :length])

        def cut(mask: Tensor) -> Tensor:
            return mask[:, :length] if mask.dim() == 2 else mask[:, :, :length, :length]

        mask = self.mask
        return replace(
            self,
            x_bsd=self.x_bsd[:, :length],
            layout=layout,
            mask=cut(mask) if isinstance(mask, Tensor) else mask and {kind: cut(one) for kind, one in mask.items()},
            position=None if self.position is None else self.position[..., :length],
            deep=tuple(level[:, :length] for level in self.deep),
        )


class _Reached(Exception):
    """The language model is reached; not an error."""


def caught(module: Any, run: Callable[[], Any]) -> dict[str, Any]:
    """The arguments, by name, that ``module`` is first called with while ``run`` runs; it goes no further.

    Raises:
        EosError: it is never called.
    """
    arguments: dict[str, Any] = {}

    def stop(_: Any, call: dict[str, Any]) -> None:
        arguments.update(call)
        raise _Reached

    hook = before(module, stop)
    try:
        run()
    except _Reached:
        return arguments
    finally:
        hook.remove()
    raise EosError(f"{type(module).__name__} was not called where its model should call it")


def caught_prefill(
    parts: Parts, inputs: Mapping[str, Any], layout: Layout, run: Callable[[dict[str, Any]], Any]
) -> Prefill:
    """What the body hands the language model.

    Args:
        parts: of the model.
        inputs: of the body.
        layout: of the prompts.
        run: calls the body.
    """
    names = parameters(type(parts.language_model).forward)
    call = caught(parts.language_model, lambda: run(dict(inputs)))
    call = {name: value for name, value in call.items() if value is not None and name not in ABOUT_THE_CALL}
    x_bsd = call["inputs_embeds"]
    deep = tuple(dense(call))
    mask, position = call.pop("attention_mask", None), call.pop("position_ids", None)
    del call["inputs_embeds"]
    more = {name: value for name, value in call.items() if value is not None and name in names}
    return Prefill(x_bsd, layout, mask, position, deep, more)


def joined_outputs(outputs: Sequence[Any]) -> Any:
    """What was made of several pictures one by one, as what is made of them together.

    Args:
        outputs: of ``get_image_features``, with ``pooler_output`` and, where a model has them, ``deepstack_features``.
    """
    first = outputs[0]
    joined: dict[str, Any] = {"pooler_output": _joined([one.pooler_output for one in outputs])}
    if getattr(first, "deepstack_features", None) is not None:
        levels = zip(*(one.deepstack_features for one in outputs), strict=True)
        joined["deepstack_features"] = [_joined(level) for level in levels]
    joined |= {name: value for name, value in _features(first).items() if name in OF_ALL}
    return type(first)(**joined)


def placed(output: Any, device: torch.device) -> Any:
    """The same on a device; itself where it is there."""
    held = _features(output)
    if all(one.device == device for one in _tensors(held)):
        return output
    return type(output)(**{name: _placed(value, device) for name, value in held.items()})


def bytes_of(output: Any) -> int:
    """What the features of a picture take."""
    return sum(one.numel() * one.element_size() for one in _tensors(_features(output)))


def _features(output: Any) -> dict[str, Any]:
    names = ("pooler_output", "deepstack_features", *OF_ALL)
    return {name: getattr(output, name) for name in names if getattr(output, name, None) is not None}


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [one for part in (value.values() if isinstance(value, dict) else value) for one in _tensors(part)]


def _placed(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else [_placed(one, device) for one in value]


def _joined(parts: Sequence[Any]) -> Any:
    """Features of pictures of one size in one tensor, others one by one."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return [features for one in parts for features in one]
