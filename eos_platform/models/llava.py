"""The parts of a LLaVA that operators meet: decoder layers, vision tower, image tokens."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import nn

from eos_platform.errors import EosError
from eos_platform.operators.spec import OperatorSpec, Target

ATTENTION = ("sdpa", "eager")
IN_TOWER = ("vision", "norm", "uniqueness")  # the features there are inside the vision tower


@dataclass(frozen=True)
class Parts:
    """The modules of one LLaVA (never the top-level model itself, so that holding them does not keep it alive)."""

    body: Any  # images and text in, hidden states out
    language_model: Any
    layers: tuple[Any, ...]
    tower: Any
    image_token: int
    grid: tuple[int, int]
    blocks: tuple[Any, ...]  # of the vision tower
    used: int  # so many of them lead to the visual tokens; the model runs the others for nothing
    states: int  # of how many blocks the outputs are used

    @property
    def vision_layer(self) -> Any:
        """The last block of the vision tower whose output is used.

        Raises:
            EosError: there is none.
        """
        if self.used == 0:
            raise EosError("what is read inside the vision tower needs a layer of it, and this model uses none")
        return self.blocks[self.used - 1]


def parts_of(model: Any) -> Parts:
    """The parts of a model.

    Raises:
        EosError: not a LLaVA with a Llama-like language model, or one whose visual tokens are no grid.
    """
    body = getattr(model, "model", None)
    language_model = getattr(body, "language_model", None)
    tower = getattr(body, "vision_tower", None)
    layers = getattr(language_model, "layers", None)
    if layers is None or tower is None:
        raise EosError(f"operators attach to LlavaForConditionalGeneration, not to {type(model).__name__}")
    if not all(hasattr(layers[0], name) for name in ("self_attn", "input_layernorm")):
        raise EosError(f"decoder layers of {type(language_model).__name__} are not Llama's")
    config = model.config
    if config.vision_feature_select_strategy != "default":
        raise EosError("only vision_feature_select_strategy 'default' is supported (visual tokens form a grid)")
    vision = config.vision_config
    side = vision.image_size // vision.patch_size
    blocks = tuple(getattr(getattr(tower, "vision_model", tower), "encoder", tower).layers)
    # hidden state 0 is the embeddings, hidden state i the output of block i - 1
    chosen = config.vision_feature_layer
    states = [chosen] if isinstance(chosen, int) else list(chosen)
    return Parts(
        body=body,
        language_model=language_model,
        layers=tuple(layers),
        tower=tower,
        image_token=config.image_token_id,
        grid=(side, side),
        blocks=blocks,
        used=max(state if state >= 0 else len(blocks) + 1 + state for state in states),
        states=len(states),
    )


def target_of(model: Any, name: str = "") -> Target:
    """What an operator made for this model refers to."""
    parts = parts_of(model)
    return Target(layers=len(parts.layers), grid=parts.grid, model=name, vision_layers=parts.used)


def check_fits(parts: Parts, operator: OperatorSpec) -> None:
    """Refuse an operator made for another model.

    Raises:
        EosError: other number of decoder layers, other grid, or an attention that cannot be masked per key.
    """
    last = len(parts.layers) - 1
    for number, site in enumerate(operator.sites):
        if site.place == "decoder" and site.layer > last:
            raise EosError(
                f"operator '{operator.name}': sites.{number}: layer {site.layer} is beyond the model's last"
                f" decoder layer ({last})"
            )
        width = parts.language_model.config.hidden_size if site.place == "decoder" else parts.tower.config.hidden_size
        if site.probe and len(site.probe) != width:
            raise EosError(
                f"operator '{operator.name}': sites.{number}: a probe of {len(site.probe)} numbers; the model's"
                f" tokens have {width}"
            )
    if operator.target.grid != parts.grid:
        made, has = ("x".join(map(str, grid)) for grid in (operator.target.grid, parts.grid))
        raise EosError(f"operator '{operator.name}' is for a {made} grid of visual tokens; the model has {has}")
    if operator.target.layers != last + 1:
        raise EosError(
            f"operator '{operator.name}' is for {operator.target.layers} decoder layers; the model has {last + 1}"
        )
    kinds = [parts.language_model.config._attn_implementation]
    if any(site.beta > 0 for site in operator.tower_sites):
        kinds.append(parts.tower.config._attn_implementation)
    for kind in kinds:
        if kind not in ATTENTION:
            raise EosError(f"attention '{kind}' is not supported; load the model with attn_implementation='sdpa'")
    _check_tower(parts, operator)


def _check_tower(parts: Parts, operator: OperatorSpec) -> None:
    """The same for what happens before the decoder."""
    where = f"operator '{operator.name}'"
    for number, site in enumerate(operator.tower_sites):
        if site.layer >= parts.used:
            raise EosError(
                f"{where}: sites.{number}: layer {site.layer} is beyond the last layer of the vision tower that the"
                f" model uses ({parts.used - 1})"
            )
        for name, weight in site.score.items():
            if weight and name not in IN_TOWER:
                raise EosError(
                    f"{where}: sites.{number}: the vision tower has no feature '{name}'; it has {', '.join(IN_TOWER)}"
                )
    if operator.sees_less and parts.states > 1:
        raise EosError(f"{where}: the model uses several layers of its vision tower, which would differ in tokens")
    if operator.arriving < operator.target.tokens and "interpolate_pos_encoding" not in _parameters(
        type(parts.tower).forward
    ):
        raise EosError(f"{where}: {type(parts.tower).__name__} takes pictures of one size only")


Hook = Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def renamed(act: Callable[[Any, dict[str, Any]], None]) -> Hook:
    """A forward pre-hook that lets ``act`` change a call's arguments by name; they go on as they came."""

    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        names = _parameters(type(module).forward)[: len(args)]
        call = {**dict(zip(names, args, strict=False)), **kwargs}
        act(module, call)
        return tuple(call.pop(name, None) for name in names), call

    return hook


@lru_cache(maxsize=64)
def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)[1:]
