"""What a search or an evaluation works on: a model, a task, and the questions encoded so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from eos_platform.errors import EosError, shown, unknown
from eos_platform.models.devices import find_device
from eos_platform.models.encoding import encode_images
from eos_platform.models.families import FAMILIES
from eos_platform.models.llava import target_of
from eos_platform.models.opening import opening, place_of
from eos_platform.models.pretrained import load, load_model
from eos_platform.models.unwrap import unwrapped
from eos_platform.tasks.base import Subject
from eos_platform.tasks.encode import Encoded
from eos_platform.tasks.questions import SKILLS
from eos_platform.tasks.scenes import CONFIGS, SPLITS, SceneConfig, Split

TASKS = ("scenes",)


@dataclass
class Workload(Subject):
    """A frozen model on a task. Encoded questions are kept: the next search or evaluation starts at once."""

    name: str
    task: str
    model: Any
    processor: Any
    config: SceneConfig
    _encoded: dict[Split, Encoded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Of what is wrapped around the model, searches and evaluations need nothing."""
        self.model = unwrapped(self.model)

    @property
    def skills(self) -> tuple[str, ...]:
        """The task's skills."""
        return tuple(SKILLS)

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

    if task not in TASKS:
        raise unknown("task", task, TASKS)
    name = str(model)
    place_of(name)
    place = find_device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    with opening(name) as path:
        config = load(AutoConfig, path, trust_remote_code=trust_remote_code)
        if config.model_type != "llava":
            known = config.model_type in FAMILIES
            others = "; operators found on one attach to it all the same (rescale=True)" if known else ""
            raise EosError(
                f"model {shown(name)} is a {shown(config.model_type)}: "
                f"searches and tasks know 'llava' models alone{others}"
            )
        kind = AutoModelForImageTextToText if trust_remote_code else LlavaForConditionalGeneration
        loaded: Any = load_model(
            kind, path, dtype=dtype, trust_remote_code=trust_remote_code, allow_missing=allow_missing
        )
        processor = load(AutoProcessor, path, trust_remote_code=trust_remote_code)
        loaded = loaded.to(place).eval().requires_grad_(False)
        _try_out(loaded, processor, f"model {shown(name)} cannot be used")
    grid = target_of(loaded).grid[0]
    if grid not in CONFIGS:
        raise EosError(f"task '{task}' has pictures for grids of {sorted(CONFIGS)} tokens a side; '{name}' sees {grid}")
    return Workload(name, task, loaded, processor, CONFIGS[grid])


def _try_out(model: Any, processor: Any, where: str) -> None:
    """A picture through the tower and a word through the language model, before anything long begins.

    Raises:
        EosError: the parts do not fit each other.
        Exception: whatever a library raises.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise EosError(f"{where}: its processor is a {type(processor).__name__} without a tokenizer")
    words = model.get_input_embeddings().weight.shape[0]
    special = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "pad")}
    for name, number in special.items():
        if not isinstance(number, int):
            raise EosError(f"{where}: its tokenizer has no {name}_token")
    ids = tokenizer("how many red circles are there?", add_special_tokens=False).input_ids
    if not ids or max(*ids, *special.values()) >= words:
        raise EosError(f"{where}: its tokenizer does not fit the {words} words the model knows")
    side = int(model.config.vision_config.image_size)
    with torch.no_grad():
        seen_1nd, _ = encode_images(model, torch.zeros(1, 3, side, side, dtype=model.dtype, device=model.device))
        if seen_1nd.shape[1] != target_of(model).tokens:
            raise EosError(
                f"{where}: its vision tower makes {seen_1nd.shape[1]} tokens of a picture, not as many as expected"
            )
        text = torch.tensor([ids], device=model.device)
        told = model.model.language_model(input_ids=text, use_cache=False).last_hidden_state
    if not (seen_1nd.isfinite().all() and told.isfinite().all()):
        raise EosError(f"{where}: its weights give numbers that are not finite")
