"""What checks try: a sample's models, operators for them, prompts."""

from __future__ import annotations

from typing import Any

import torch

from eos_platform.models.adapters import ADAPTERS, family_of
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.further import FURTHER
from eos_platform.models.conformance.operators import operators
from eos_platform.models.conformance.zoo import SAMPLES, Sample, prompts
from eos_platform.operators.spec import OperatorSpec

_BUILT: dict[tuple[str, str], Any] = {}


def samples() -> dict[str, Sample]:
    """Those of the families here, and those of other packages' (``Family.sample``)."""
    brought = (family.sample for family in ADAPTERS.values())
    return SAMPLES | FURTHER | {sample.name: sample for sample in brought if isinstance(sample, Sample)}


def built(sample: Sample, attention: str = "sdpa") -> Any:
    """A model of the sample, the same one at every call."""
    key = (sample.name, attention)
    if key not in _BUILT:
        _BUILT[key] = fresh(sample, attention)
    return _BUILT[key]


def fresh(sample: Sample, attention: str = "sdpa") -> Any:
    """A model of its own, with the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return sample.build(attention)


def specs(model: Any) -> dict[str, OperatorSpec]:
    """The operators tried on a model."""
    width = model.get_input_embeddings().embedding_dim
    return operators(target_of(model), family_of(model).axes, width)


def batches(sample: Sample) -> dict[str, dict[str, Any]]:
    """Prompts: one picture, a padded batch (of different pictures, where they may differ), several in a prompt."""
    first, last = sample.sizes[0], sample.sizes[-1]
    prompts_by_name = {
        "one": prompts(sample, [[first]]),
        "padded": prompts(sample, [[first], [last]], (3, 7)),
        "several": prompts(sample, [[last, first], [first], []], (5, 3, 6)),
    }
    if sample.video:
        prompts_by_name["film"] = prompts(sample, [[], []], (4, 6), films=2)
        prompts_by_name["film and picture"] = prompts(sample, [[last]], films=2)
    return prompts_by_name
