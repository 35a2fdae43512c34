"""Some encoded prompts as a file: tensors alone, which are mapped when they are read, and what stands in which of them.

What each prompt says, and which pictures it shows, is not in the file: it is its name (``kept.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import modeling_outputs
from transformers.utils import ModelOutput

from eos_platform.common import strict_json
from eos_platform.models.adapters.prefill import OF_ALL
from eos_platform.tasks import cache
from eos_platform.tasks.prompting.encoder import Units

FEATURES = ("pooler_output", "deepstack_features", *OF_ALL)
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Kept:
    """A prompt as it was kept.

    Attributes:
        inputs: of the model.
        answer: tokens.
        most: tokens of its longest right answer.
        units: of its pictures.
    """

    inputs: Mapping[str, Tensor]
    answer: tuple[int, ...]
    most: int
    units: Units


def save(key: str, prompts: Sequence[Kept], seen: Sequence[Any], received: Sequence[Tensor] = ()) -> int:
    """Keep prompts, and what was made of the pictures that come up among them; nothing, where that has no such form.

    Args:
        key: their name.
        prompts: as they are to be found again.
        seen: outputs of the tower.
        received: the attention of each one's tokens in it, where that is read.

    Returns:
        Their bytes; 0: they cannot be kept.
    """
    tensors: Tensors = {}
    about: dict[str, Any] = {"most": [one.most for one in prompts], "units": [one.units for one in prompts]}
    about["names"] = names = sorted(prompts[0].inputs)
    if any(sorted(one.inputs) != names for one in prompts):
        return 0
    for name in names:
        values = [one.inputs[name] for one in prompts]
        if len({(value.dtype, value.dim()) for value in values}) > 1:
            return 0
        tensors[f"input {name}"] = torch.cat([value.reshape(-1) for value in values])
        tensors[f"shapes {name}"] = torch.tensor([value.shape for value in values], dtype=torch.int64)
    tensors["answers"] = torch.tensor([word for one in prompts for word in one.answer], dtype=torch.int64)
    about["answers"] = [len(one.answer) for one in prompts]
    about["seen"] = pictures = []
    for place, output in enumerate(seen):
        features = {name: getattr(output, name) for name in FEATURES if getattr(output, name, None) is not None}
        pictures.append({name: -1 if isinstance(one, Tensor) else len(one) for name, one in features.items()})
        for name, value in features.items():
            for number, one in enumerate([value] if isinstance(value, Tensor) else value):
                tensors[f"seen {place} {name} {number}"] = one
    tensors |= {f"received {place}": one for place, one in enumerate(received)}
    about["kind"] = type(seen[0]).__name__ if seen else ""
    tensors["about"] = torch.frombuffer(bytearray(strict_json.dumps(about).encode()), dtype=torch.uint8)
    cache.save(key, tensors)
    return sum(one.numel() * one.element_size() for one in tensors.values())


def load(key: str, body: Any, received: bool = False) -> tuple[list[Kept], list[Any], int, list[Tensor]] | None:
    """Prompts that were kept, outputs of the tower for the pictures that come up among them, their bytes, and the
    attention of each one's tokens.

    Args:
        key: their name.
        body: of the model, whose kind of output it is.
        received: whether that attention is wanted; where it was not kept, nothing was.
    """
    tensors = cache.load(key)
    if tensors is None:
        return None
    try:
        about = strict_json.loads(tensors["about"].numpy().tobytes().decode(), "kept prompts")
        inputs = {name: _apart(tensors[f"input {name}"], tensors[f"shapes {name}"]) for name in about["names"]}
        answers = tensors["answers"].split(about["answers"])
        prompts = [
            Kept({name: values[place] for name, values in inputs.items()}, tuple(answer.tolist()), most, _units(units))
            for place, (answer, most, units) in enumerate(zip(answers, about["most"], about["units"], strict=True))
        ]
        kind = _kind(about["kind"], body) if about["seen"] else ModelOutput
        seen = [kind(**_features(tensors, place, one)) for place, one in enumerate(about["seen"])]
        attention = [tensors[f"received {place}"] for place in range(len(seen))] if received else []
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError, AttributeError):
        return None
    return prompts, seen, sum(one.numel() * one.element_size() for one in tensors.values()), attention


def can_be_kept(output: Any, body: Any) -> bool:
    """Whether an output of the tower is of a kind that is found again by its name."""
    return getattr(_modules(body), type(output).__name__, None) is type(output) or (
        getattr(modeling_outputs, type(output).__name__, None) is type(output)
    )


def _kind(name: str, body: Any) -> type[ModelOutput]:
    """The class of that name beside the model's, or of all models."""
    result = getattr(_modules(body), name, None) or getattr(modeling_outputs, name)
    if not (isinstance(result, type) and issubclass(result, ModelOutput)):
        raise TypeError(name)
    return result


def _modules(body: Any) -> Any:
    return sys.modules[type(body).__module__]


def _features(tensors: Tensors, place: int, form: Mapping[str, int]) -> dict[str, Any]:
    return {
        name: tensors[f"seen {place} {name} 0"]
        if many < 0
        else [tensors[f"seen {place} {name} {number}"] for number in range(many)]
        for name, many in form.items()
        if name in FEATURES
    }


def _apart(flat: Tensor, shapes: Tensor) -> list[Tensor]:
    sizes = shapes.prod(1).tolist()
    return [one.reshape(shape) for one, shape in zip(flat.split(sizes), shapes.tolist(), strict=True)]


def _units(value: Any) -> Units:
    return tuple(((int(rows), int(columns)), int(many)) for (rows, columns), many in value)
