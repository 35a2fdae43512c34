"""What a search or an evaluation works on: a model, a task, and the questions encoded so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from eos_platform.errors import EosError, did_you_mean, unknown
from eos_platform.models.bundled import GRIDS, folder
from eos_platform.models.compute import DecoderShape, VisionShape, shape_of, vision_shape_of
from eos_platform.models.devices import find_device
from eos_platform.models.families import FAMILIES
from eos_platform.models.llava import target_of
from eos_platform.models.pretrained import load, load_model
from eos_platform.operators.spec import Target
from eos_platform.tasks.encode import Encoded
from eos_platform.tasks.questions import SKILLS
from eos_platform.tasks.scenes import CONFIGS, SPLITS, SceneConfig, Split

TASKS = ("scenes",)


@dataclass
class Workload:
    """A frozen model on a task. Encoded questions are kept: the next search or evaluation starts at once."""

    name: str
    task: str
    model: Any
    processor: Any
    config: SceneConfig
    _encoded: dict[Split, Encoded] = field(default_factory=dict)

    @property
    def skills(self) -> tuple[str, ...]:
        """The task's skills."""
        return tuple(SKILLS)

    @cached_property
    def target(self) -> Target:
        """What operators for this model refer to."""
        return target_of(self.model, self.name)

    @cached_property
    def shape(self) -> DecoderShape:
        """Sizes of the decoder."""
        return shape_of(self.model)

    @cached_property
    def vision_shape(self) -> VisionShape:
        """Sizes of the vision tower."""
        return vision_shape_of(self.model)

    @cached_property
    def text_tokens(self) -> int:
        """Tokens of a typical prompt that are not visual; the compute ratio is taken at this length."""
        return self.encoded("validation", 256).text_tokens

    def encoded(self, split: Split, questions: int) -> Encoded:
        """The first ``questions`` of a split; the latest set of each split is kept.

        Raises:
            EosError: unknown split.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        have = self._encoded.get(split)
        if have is None or len(have) != questions:
            have = Encoded(self.model, self.processor.tokenizer, split, questions, self.config)
            self._encoded[split] = have
        return have


def load_workload(
    model: str | Path = "bundled",
    task: str = "scenes",
    device: str | None = None,
    *,
    trust_remote_code: bool = False,
    allow_missing: bool = False,
) -> Workload:
    """Load a model for a task.

    Args:
        model: ``bundled`` (576 visual tokens), ``bundled-small`` (144), or the folder of a LLaVA trained on the task.
        task: ``scenes``.
        device: where to run; default: the GPU if there is one. On a GPU the model runs in bfloat16.
        trust_remote_code: run Python that lies in the model's folder, where its ``auto_map`` says so.
        allow_missing: weights that the folder lacks are drawn at random, and those it has too many left out.

    Raises:
        EosError: unknown model or task, a device that is not there, or a model the task has no pictures for.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration
    from transformers.utils import logging

    if task not in TASKS:
        raise unknown("task", task, TASKS)
    name = str(model)
    path = folder(name) if name in GRIDS else Path(name)
    if not (path / "config.json").is_file():
        what = "has no config.json" if path.is_dir() else "is neither a bundled model nor a folder"
        raise EosError(f"model '{name}' {what}{did_you_mean(name, GRIDS)}")
    place = find_device(device)
    logging.disable_progress_bar()
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    try:
        config = load(AutoConfig, path, trust_remote_code=trust_remote_code)
        if config.model_type != "llava":
            known = config.model_type in FAMILIES
            others = "; operators found on one attach to it all the same (rescale=True)" if known else ""
            raise EosError(
                f"model '{name}' is a '{config.model_type}': searches and tasks know 'llava' models alone{others}"
            )
        kind = AutoModelForImageTextToText if trust_remote_code else LlavaForConditionalGeneration
        loaded: Any = load_model(
            kind, path, dtype=dtype, trust_remote_code=trust_remote_code, allow_missing=allow_missing
        )
        processor = load(AutoProcessor, path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise EosError(f"model '{name}' cannot be loaded: {str(error).strip().splitlines()[0]}") from None
    loaded = loaded.to(place).eval().requires_grad_(False)
    grid = target_of(loaded).grid[0]
    if grid not in CONFIGS:
        raise EosError(f"task '{task}' has pictures for grids of {sorted(CONFIGS)} tokens a side; '{name}' sees {grid}")
    return Workload(name, task, loaded, processor, CONFIGS[grid])
