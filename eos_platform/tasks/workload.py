"""What a search or an evaluation works on: a model, a task, and the questions encoded so far."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, did_you_mean, expected, shown, unknown
from eos_platform.common.printable import printable
from eos_platform.models.adapters import FAMILIES, family_of, family_of_type
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import target_of
from eos_platform.models.bundled import MODELS, folder
from eos_platform.models.loading.one_at_a_time import one_at_a_time
from eos_platform.models.loading.opening import opening, place_of
from eos_platform.models.loading.placement import place_weights
from eos_platform.models.loading.pretrained import load, load_model
from eos_platform.models.loading.processors import load_processor
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.attach import check_free
from eos_platform.models.vision.encoding import encode_images
from eos_platform.protocols import Task
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import answer_states
from eos_platform.tasks.choice import Choice, checked, default_for, open_task, text_of
from eos_platform.tasks.on_task import OnTask
from eos_platform.tasks.scenes import CONFIGS, SPLITS, SceneConfig, Split
from eos_platform.tasks.scenes.encode import Encoded
from eos_platform.tasks.scenes.questions import SKILLS
from eos_platform.tasks.scenes.task import Scenes

KINDS = "a model, its folder, or the name of a bundled one (bundled, bundled-small, ...)"


@dataclass(repr=False)
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
            have = self._encoded[split] = self.few(split, questions)
        return have

    def few(self, split: Split, questions: int) -> Encoded:
        """The same, not kept."""
        return Encoded(self.model, self.processor.tokenizer, split, questions, self.config)


@one_at_a_time
def load_workload(
    model: Any = "bundled",
    task: Choice | Task | None = None,
    device: str | None = None,
    *,
    processor: Any = None,
    trust_remote_code: bool = False,
    allow_missing: bool = False,
    dtype: str = "auto",
) -> Subject:
    """Load a model for a task.

    Args:
        model: a bundled one (``models.bundled.MODELS``), the folder of a model of any family that a search can run on;
            or such a model itself, which stays where it is, and is frozen.
        task: its name, such as ``scenes``; a mapping of its name and options, such as
            ``{"name": "files", "data": "questions.jsonl"}``; or a task itself. Default: the one a bundled model was
            trained on, else ``scenes``.
        device: where to run; default: the GPU if there is one, and where a model does not fit one, spread by layers
            over all there are, as with ``auto``.
        processor: of a model that is given itself; default: what lies in the folder it was loaded from.
        trust_remote_code: run Python that lies in the model's folder, where its ``auto_map`` says so.
        allow_missing: weights that the folder lacks are drawn at random, and those it has too many left out.
        dtype: of the weights: ``auto`` (bfloat16 on a GPU, float32 on the CPU), ``float32``, ``bfloat16``, ``float16``,
            ``8bit`` or ``4bit`` (bitsandbytes).

    Raises:
        EosError: unknown model or task, data of a task that cannot be used, a device that is not there, or a model that
            no search can run on.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    if not isinstance(model, (str, os.PathLike, nn.Module)):
        raise expected("model", KINDS, model)
    if task is None:
        place = getattr(model, "name_or_path", model)
        task = default_for(next((name for name in MODELS if str(folder(name)) == str(place)), str(place)))
    chosen = task if isinstance(task, Task) and not isinstance(task, (str, Mapping)) else checked(task)
    if isinstance(model, nn.Module):
        if device is not None:
            raise EosError("device: a model that is given itself stays where it is; model.to(device) moves it")
        if dtype != "auto":
            raise EosError("dtype: a model that is given itself stays as it is; model.to(dtype) changes it")
        return _of_model(unwrapped(model), processor, chosen, trust_remote_code)
    if processor is not None:
        raise EosError("processor: goes with a model that is given itself; one that is loaded has its own")
    name = str(model)
    placement = place_weights(place_of(name), device, dtype)
    opened = open_task(chosen)
    with opening(name) as path:
        config = load(AutoConfig, path, trust_remote_code=trust_remote_code)
        _check_family(config.model_type, name)
        loaded: Any = load_model(
            AutoModelForImageTextToText,
            path,
            **placement.options,
            trust_remote_code=trust_remote_code,
            allow_missing=allow_missing,
        )
        processor = load_processor(path, trust_remote_code=trust_remote_code)
        return _subject(placement.placed(loaded), processor, chosen, opened, name)


def on_another_task(workload: Subject, task: Choice | Task) -> Subject:
    """The same model, its weights shared, on another task.

    Raises:
        EosError: no such task, or one that does not suit the model.
    """
    chosen = task if isinstance(task, Task) and not isinstance(task, (str, Mapping)) else checked(task)
    processor = getattr(workload, "processor", None)
    return _subject(workload.model, processor, chosen, open_task(chosen), workload.name)


def _of_model(model: Any, processor: Any, chosen: Choice | Task, trust_remote_code: bool) -> Subject:
    """A model that somebody has loaded, with its processor."""
    check_free(model)
    family_of(model)
    path = str(getattr(model, "name_or_path", ""))
    name = printable(Path(path).name)[:100] or type(model).__name__
    _check_family(model.config.model_type, name)
    if processor is None and not Path(path, "config.json").is_file():
        raise EosError(f"processor: {type(model).__name__} was loaded from no folder here; give its processor")
    if processor is None:
        with opening(path) as place:
            processor = load_processor(place, trust_remote_code=trust_remote_code)
    if not hasattr(processor, "tokenizer"):
        raise expected("processor", "what AutoProcessor.from_pretrained gives", processor)
    with reading(f"model {shown(name)} cannot be used"):
        return _subject(model, processor, chosen, open_task(chosen), name)


def _subject(model: Any, processor: Any, chosen: Choice | Task, opened: Task, name: str) -> Subject:
    """Model and task together, tried out.

    Raises:
        EosError: the parts do not fit each other.
        Exception: whatever a library raises.
    """
    model = model.eval().requires_grad_(False)
    where = f"model {shown(name)} cannot be used"
    if isinstance(opened, Scenes):
        rows, columns = target_of(model).grid
        if adapter_of(model).capabilities.tower and rows == columns and rows in CONFIGS:
            _try_out(model, processor, where)
            return Workload(name, opened.name, model, processor, CONFIGS[rows])
        opened.of_grid(max(CONFIGS) if adapter_of(model).capabilities.varies else max(rows, columns))
    elif callable(suit := getattr(opened, "suit", None)):
        suit(adapter_of(model))
    source = text_of(chosen) if isinstance(chosen, (str, dict)) else opened.name
    workload = OnTask(model, processor, opened, name=name, source=source)
    _ask_one(workload, where)
    return workload


def _check_family(model_type: str, name: str) -> None:
    """Refuse models of no family, or of one that cannot be searched.

    Raises:
        EosError: it is one.
    """
    family = family_of_type(model_type)
    if family is None:
        raise EosError(
            f"model {shown(name)} is a {shown(model_type)}, which is of no known family"
            f"{did_you_mean(model_type, FAMILIES)}"
        )
    if not family.relaxable:
        raise EosError(
            f"model {shown(name)}: a search cannot run on {family.name} models; "
            "operators found on one attach to it all the same (rescale=True)"
        )


@torch.no_grad()
def _ask_one(workload: OnTask, where: str) -> None:
    """A question of the task as the model's own processor puts it, before anything long begins.

    Raises:
        EosError: the parts do not fit each other.
        Exception: whatever a library raises.
    """
    first = workload.encoded("validation", 1)
    words = workload.model.get_input_embeddings().weight.shape[0]
    most = max(max(prompt.answer) for prompt in first.prompts)
    if most >= words:
        raise EosError(f"{where}: its tokenizer does not fit the {words} words the model knows")
    if not answer_states(workload.model, first.batch(torch.tensor([0]))).isfinite().all():
        raise EosError(f"{where}: its weights give numbers that are not finite")


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
        logits = model(input_ids=text, use_cache=False).logits
    if not (seen_1nd.isfinite().all() and logits.isfinite().all()):
        raise EosError(f"{where}: its weights give numbers that are not finite")
