"""Train a small model on drawn tasks, from a bundled model that sees already.

    python -m eos_platform.tasks.drawn.training --task crowds --model bundled-small-v2 --minutes 5 --out trained/crowds
    eos compare --model trained/crowds --task crowds --operators tome,divprune,random

Several tasks, with commas between, take turns: batches of each are as many as of the others. ``scenes-v2`` among them
keeps a model that knows it from forgetting it.

All weights learn, by the answers alone, on pictures of the split ``train``, which no search and no examination draws
from; the rate rises, then falls along a cosine over the minutes given. What is saved is a folder that transformers and
every command here load. At the end held-out questions are asked, group by group. One GPU, or the CPU; Ctrl-C saves what
there is. Models: any bundled one whose pictures a drawn task can be drawn for (of one size).

Legend: b batch, s sequence.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.bundled import MODELS, folder
from eos_platform.models.loading.devices import find_device
from eos_platform.models.loading.pretrained import load
from eos_platform.models.loading.processors import load_processor
from eos_platform.protocols import Example
from eos_platform.tasks import load_workload, scenes_v2
from eos_platform.tasks.drawn.base import TRAIN
from eos_platform.tasks.drawn.crowds import Crowds
from eos_platform.tasks.drawn.fabrics import Fabrics
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.prompts import Prompt, made_by
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.task import ScenesV2


class Trainable(Protocol):
    """A task with pictures to learn from."""

    def suit(self, adapter: Any) -> None:
        """Draw as a model sees."""

    def pictures(self, split: str, first: int, count: int) -> list[Example]:
        """Questions about so many pictures of a split, from number ``first`` on."""


class MoreScenes(ScenesV2):
    """``scenes-v2``, that a model which knows it may not forget it: pictures as its training draws them."""

    def pictures(self, split: str, first: int, count: int) -> list[Example]:
        """At most three questions about each picture."""
        made: list[Example] = []
        for index in range(first, first + count):
            size = scenes_v2.size_of(self.sizes, index)
            scene = scenes_v2.make_scene("train", index, size)
            draws = Draws(index, *size, 5)
            for one in draws.shuffled(scenes_v2.ask(scene, draws))[:EACH]:
                image = partial(_drawn, scene)
                made.append(Example(image, one.text, one.answer, one.skill, f"{split}-{index}"))
        return made


def _drawn(scene: scenes_v2.Scene) -> Image.Image:
    return Image.fromarray(scenes_v2.render(scene))


EACH = 3  # questions about a picture
TASKS: dict[str, Callable[[], Trainable]] = {"crowds": Crowds, "fabrics": Fabrics, "scenes-v2": MoreScenes}
IGNORED = -100  # labels that nothing is learnt of
WARM = 0.05  # share of the time in which the rate rises


def batched(prompts: Sequence[Prompt], pad: int) -> dict[str, Tensor]:
    """Prompts and their answers as a model's inputs (b, s), padded behind; only answers are learnt."""
    rows = [torch.cat([one.inputs["input_ids"][0], torch.tensor(one.answer)]) for one in prompts]
    longest = max(map(len, rows))
    ids_bs = torch.full((len(rows), longest), pad)
    mask_bs, label_bs = torch.zeros_like(ids_bs), torch.full_like(ids_bs, IGNORED)
    for row, (ids, one) in enumerate(zip(rows, prompts, strict=True)):
        ids_bs[row, : len(ids)], mask_bs[row, : len(ids)] = ids, 1
        label_bs[row, len(ids) - len(one.answer) : len(ids)] = torch.tensor(one.answer)
    of_text = prompts[0].inputs["input_ids"].shape
    seen = {
        name: torch.cat([one.inputs[name] for one in prompts])
        for name, tensor in prompts[0].inputs.items()
        if tensor.shape != of_text
    }
    return {"input_ids": ids_bs, "attention_mask": mask_bs, "labels": label_bs, **seen}


class Fed(IterableDataset[dict[str, Tensor]]):
    """Batches without end, each picture once; tasks take turns, and so do processes that draw."""

    def __init__(self, tasks: Sequence[Trainable], processor: Any, lead: str, size: int) -> None:
        self.tasks, self.processor, self.lead, self.size = tasks, processor, lead, size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        pad = self.processor.tokenizer.pad_token_id
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            task, turn = self.tasks[number % len(self.tasks)], number // len(self.tasks)
            examples = task.pictures(TRAIN, turn * self.size, self.size)
            yield batched(list(made_by(self.processor, examples, self.lead)), pad)
            number += workers


def train(
    model: Any,
    processor: Any,
    tasks: Sequence[Trainable],
    minutes: float,
    pictures: int,
    rate: float,
    device: torch.device,
    workers: int = 0,
) -> int:
    """Train in place; how many pictures were seen. ``workers``: processes that draw; 0: this one does."""
    adapter, begun, seen = adapter_of(model), time.monotonic(), 0
    fed = Fed(tasks, processor, adapter.family.answer_lead, pictures)
    loader = DataLoader(fed, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None)
    model.float().train()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    mean, told = 0.0, begun
    try:
        for batch in loader:
            done = (time.monotonic() - begun) / (60 * minutes)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = rate * min(done / WARM, 0.5 + 0.5 * math.cos(math.pi * done))
            inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = model(**inputs).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen += pictures
            mean += 0.05 * (loss.item() - mean) if seen > pictures else loss.item()
            if time.monotonic() - told > 15:
                told = time.monotonic()
                left = (1 - done) * minutes
                terminal.say(f"{seen} pictures, loss {mean:.3f}, {left:.1f} minutes to go", stderr=True)
    except KeyboardInterrupt:
        terminal.say("stopped; what there is is saved", stderr=True)
    model.eval()
    return seen


def main(words: Sequence[str] | None = None) -> int:
    """Train, save, examine; the exit code."""
    from transformers import AutoModelForImageTextToText

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help=f"{' or '.join(TASKS)}, or several with commas between")
    parser.add_argument("--model", default="bundled-small-v2", help="bundled: what training starts from")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--pictures", type=int, default=64, help="in a batch; each has one question of every group")
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--questions", type=int, default=1500, help="held-out ones, at the end")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw; default: none but this one")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    given = parser.parse_args(words)
    try:
        names = list(dict.fromkeys(given.task.split(",")))
        for name in names:
            if name not in TASKS:
                raise unknown("task", name, TASKS)
        if given.model not in MODELS:
            raise unknown("model", given.model, MODELS)
        device, tasks = find_device(given.device), [TASKS[name]() for name in names]
        place = folder(given.model)
        torch.manual_seed(0)
        model: Any = load(AutoModelForImageTextToText, place)
        model.to(device)
        processor = load_processor(place)
        for task in tasks:
            task.suit(adapter_of(model))
        seen = train(model, processor, tasks, given.minutes, given.pictures, given.rate, device, given.workers)
        model.to(torch.bfloat16).save_pretrained(given.out)
        processor.save_pretrained(given.out)
        terminal.say(f"{given.out}: trained on {seen} pictures")
        for name in names:
            found = evaluate(load_workload(given.out, name, given.device), None, "heldout", given.questions)
            groups = ", ".join(f"{group} {100 * share:.1f}" for group, share in found.per_skill.items())
            terminal.say(f"held out, {name}: {100 * found.accuracy:.1f} % of {found.questions} questions ({groups})")
    except EosError as error:
        terminal.say(f"training: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    terminal.run(main)
