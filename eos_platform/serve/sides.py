"""The same questions put to an engine, and to the model with the operator attached: what both answer, and how sure
they are of it. In float32, greedily, one question at a time where transformers answers."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.loading.opening import opening
from eos_platform.models.loading.pretrained import load_model
from eos_platform.models.loading.processors import load_processor
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.serve.arguments import Served
from eos_platform.tasks.choice import default_for, open_task
from eos_platform.tasks.prompts import prompt_text

NEW = 8  # tokens of an answer
TOP = 20  # log-probabilities of a token that are compared
ALONE = {  # in this process, small, and quiet
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class Asked:
    """A prompt: its text with places for pictures, and these."""

    text: str
    images: tuple[Any, ...]

    def for_vllm(self) -> dict[str, Any]:
        """As ``LLM.generate`` takes it."""
        if not self.images:
            return {"prompt": self.text}
        image = self.images[0] if len(self.images) == 1 else list(self.images)
        return {"prompt": self.text, "multi_modal_data": {"image": image}}


@dataclass(frozen=True)
class Answer:
    """What came back: token ids; of each, log-probabilities by id (all of them, or the largest ``TOP``); and how many
    tokens the prompt had."""

    ids: tuple[int, ...]
    logprobs: tuple[dict[int, float], ...]
    prompt: int


class Attached:
    """A model by transformers."""

    def __init__(self, model: str | Path) -> None:
        from transformers import AutoModelForImageTextToText

        with opening(model) as folder:
            self.model: Any = load_model(AutoModelForImageTextToText, folder, dtype=torch.float32).eval()
            self.processor = load_processor(folder)
        self.name = str(model)

    @property
    def target(self) -> Target:
        """What operators for it refer to."""
        parts = adapter_of(self.model).parts
        return Target(layers=len(parts.layers), grid=parts.grid, model=self.name, vision_layers=parts.used)

    def questions(self, count: int) -> list[Asked]:
        """Held-out questions of the model's own task, several a picture."""
        task: Any = open_task(default_for(self.name))
        if hasattr(task, "of_grid"):
            task.of_grid(max(self.target.grid))
        elif callable(suit := getattr(task, "suit", None)):
            suit(adapter_of(self.model))
        opened: dict[str, Any] = {}
        asked = []
        for example in task.examples("heldout", count):
            image = opened.setdefault(example.key or str(id(example)), None) or example.opened()
            opened[example.key or str(id(example))] = image
            asked.append(Asked(prompt_text(self.processor, example.question), (image,)))
        return asked

    def answers(self, asked: Sequence[Asked], operator: OperatorSpec | None, new: int = NEW) -> Iterator[Answer]:
        """One after the other."""
        if operator is None:
            yield from self._answers(asked, new)
            return
        with attached(self.model, operator):
            yield from self._answers(asked, new)

    @torch.inference_mode()
    def _answers(self, asked: Sequence[Asked], new: int) -> Iterator[Answer]:
        for one in asked:
            images = {"images": list(one.images)} if one.images else {}
            inputs = self.processor(text=[one.text], return_tensors="pt", **images)
            out = self.model.generate(
                **inputs, max_new_tokens=new, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
            length = inputs["input_ids"].shape[1]
            ids = tuple(out.sequences[0, length:].tolist())
            logprobs = tuple(dict(enumerate(row[0].float().log_softmax(-1).tolist())) for row in out.logits)
            yield Answer(ids, logprobs, length)


@contextmanager
def engine(served: Served, **arguments: Any) -> Iterator[Any]:
    """A ``vllm.LLM`` in this process, gone afterwards.

    Args:
        served: model and operator.
        arguments: of ``vllm.LLM``, instead of or beside those.
    """
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    plain = {"dtype": "float32", "max_model_len": 1024, "seed": 0, "enforce_eager": True, "max_logprobs": TOP}
    llm = LLM(model=str(served.folder), **{**plain, **served.arguments, **arguments})
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()


def by_engine(llm: Any, asked: Sequence[Asked], new: int = NEW) -> list[Answer]:
    """All at once."""
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=new, logprobs=TOP)
    found = llm.generate([one.for_vllm() for one in asked], greedy, use_tqdm=False)
    return [answer_of(one) for one in found]


def answer_of(output: Any, which: int = 0) -> Answer:
    """Of what ``LLM.generate`` gives for a prompt."""
    one = output.outputs[which]
    steps = tuple({token: value.logprob for token, value in step.items()} for step in one.logprobs or ())
    return Answer(tuple(one.token_ids), steps, len(output.prompt_token_ids))


def difference(ours: Answer, theirs: Answer) -> float:
    """The largest of log-probabilities that both told, as far as they wrote the same."""
    largest = 0.0
    for step, (mine, its) in enumerate(zip(ours.logprobs, theirs.logprobs, strict=False)):
        largest = max([largest, *(abs(mine[token] - its[token]) for token in mine.keys() & its.keys())])
        if ours.ids[step] != theirs.ids[step]:
            break
    return largest
