"""Train a small Qwen2.5-VL on ``films``, from a bundled one that sees single pictures.

    python -m eos_platform.tasks.drawn.film_training --minutes 5 --out trained/bundled-film
    eos compare --model trained/bundled-film --task films --designs evs,vidcom2,divprune,random

Films of the split ``train`` are drawn by worker processes, and every film is asked many questions at once: each stands
behind the film's tokens and sees these and itself alone. Beside the answers, auxiliary losses teach which shape and
color is under each visual token, which way that shape moves (in the middle of the language model, where a token has
seen earlier frames), and when the shapes that a question names come; all of them fade.
What is saved, every minute and at the end, is a folder that transformers and every command here load. At the end
held-out questions are asked, group by group.

Legend: b films, t frames, n visual tokens of a frame, q questions, l tokens of a question and its answer, p tokens
before the questions, d width.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.bundled import folder
from eos_platform.models.loading.devices import find_device
from eos_platform.models.loading.pretrained import load
from eos_platform.models.loading.processors import load_processor
from eos_platform.tasks.drawn.base import TRAIN
from eos_platform.tasks.drawn.films import COLORS, COMES, FRAMES, KINDS, STILL, WAYS, Films, Scene
from eos_platform.tasks.prompts import made_by
from eos_platform.tasks.scenes_v2.training.families.qwen import STEP, Qwen
from eos_platform.tasks.scenes_v2.training.packing import packed_mask, register

START = "bundled-qwen"
AS_THEY_ARE = ("processor_config.json", "tokenizer.json", "tokenizer_config.json")  # files of the model begun with
HEAD = "lm_head.weight"
CLOSING = "<|vision_end|>"  # of a picture; between frames their beginnings are enough
SLOTS, BLOCK = 10, 28  # questions a film; tokens of the longest question with its answer
MOVED = 3  # frames after which a shape's way can be told
WARM = 0.05  # share of the time in which the rate rises
FADED = 0.8  # share of the time after which only answers are learnt
TOLD = 15.0  # seconds between lines


class Asked(IterableDataset[dict[str, Tensor]]):
    """Batches of films with questions, without end; workers take turns."""

    def __init__(self, task: Films, tokenizer: Any, films: int, split: str = TRAIN, most: int | None = None) -> None:
        self.task, self.tokenizer, self.films, self.split, self.most = task, tokenizer, films, split, most
        self.known: dict[str, list[int]] = {}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        while self.most is None or number < self.most:
            yield self._batch(range(number * self.films, (number + 1) * self.films))
            number += workers

    def _batch(self, indices: range) -> dict[str, Tensor]:
        side, cells = self.task.side, (self.task.side // STEP) ** 2
        pixels = np.zeros((self.films, FRAMES, side, side, 3), np.uint8)
        under = np.zeros((self.films, FRAMES, cells, 3), np.int64)
        ids = np.zeros((self.films, SLOTS, BLOCK), np.int64)
        answers = np.zeros((self.films, SLOTS, BLOCK), bool)
        group = np.full((self.films, SLOTS), -1, np.int64)
        comes = np.full((self.films, SLOTS, 2), -1, np.int64)
        for row, index in enumerate(indices):
            key = f"{self.task.name}-{self.split}-{index}"
            scene = self.task.scene(random.Random(key))
            pixels[row] = [np.asarray(frame) for frame in self.task.drawn(scene, random.Random(key))]
            under[row] = _under(scene, side // STEP)
            for slot, (name, question, answer) in enumerate(self._asked(scene, key)):
                prompt = self._tokens(question)
                end = [*self._tokens(" " + answer), self.tokenizer.eos_token_id]
                length = len(prompt) + len(end)
                if length > BLOCK:
                    raise EosError(f"'{question}' takes {length} tokens, more than {BLOCK}")
                ids[row, slot, :length] = prompt + end
                answers[row, slot, len(prompt) : length] = True
                group[row, slot] = self.task.groups.index(name)
                named = sorted((s for s in scene.shapes if s.kind in question), key=lambda s: question.index(s.kind))
                comes[row, slot, : len(named)] = [COMES.index(shape.comes) for shape in named[:2]]
        made = {"pixels": pixels, "under": under, "ids": ids, "answers": answers, "group": group, "comes": comes}
        return {name: torch.from_numpy(values) for name, values in made.items()}

    def _asked(self, scene: Scene, key: str) -> list[tuple[str, str, str]]:
        """Of the task's own splits the questions it asks; in training some of all there are, groups in turn."""
        if self.split != TRAIN:
            return self.task.questions(scene, key)
        rng = random.Random(f"{key}-slots")
        left = [rng.sample(some, len(some)) for some in self.task.everything(scene).values()]
        asked: list[tuple[str, str, str]] = []
        while len(asked) < SLOTS and any(left):
            asked += [some.pop() for some in left if some]
        return asked[:SLOTS]

    def _tokens(self, text: str) -> list[int]:
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.known[text]


def _under(scene: Scene, cells: int) -> np.ndarray:
    """Kind, color and way of the shape whose middle is under each token (t, n, 3), from 1; 0: none, or too early."""
    found, ways = np.zeros((FRAMES, cells * cells, 3), np.int64), (*WAYS, STILL)
    for frame in range(FRAMES):
        for shape in scene.shapes:
            shown = shape.at(frame)
            if shown is not None:
                x, y, color = shown
                place = min(cells - 1, int(y * cells)) * cells + min(cells - 1, int(x * cells))
                way = 1 + ways.index(shape.way) if frame - shape.comes >= MOVED else 0
                found[frame, place] = 1 + KINDS.index(shape.kind), 1 + list(COLORS).index(color), way
    return found


class Learner(nn.Module):
    """A model, and the heads that only training needs."""

    def __init__(self, model: Any, processor: Any, task: Films) -> None:
        super().__init__()
        self.model, self.kin, self.task = model, Qwen(), task
        example = task.examples("search", 1)
        prompt = next(made_by(processor, example))
        ids_s = prompt.inputs["input_ids"][0]
        place = int((ids_s == model.config.image_token_id).nonzero()[-1]) + 1
        question = processor.tokenizer(example[0].question, add_special_tokens=False).input_ids
        assert ids_s[place:].tolist() == question, "a question follows the last frame, as it is"
        assert prompt.answer[:-1] == tuple(
            processor.tokenizer(f" {example[0].answer}", add_special_tokens=False).input_ids
        )
        at = adapter_of(model).encode({name: one.to(model.device) for name, one in prompt.inputs.items()}).position
        assert at is not None
        blocks = (int(at[..., :place].max()) + 1 + torch.arange(BLOCK, device=at.device)).repeat(SLOTS)
        self.register_buffer("prefix_p", ids_s[:place].to(model.device))
        self.register_buffer("position", torch.cat([at[..., :place], blocks.expand(*at.shape[:-1], -1)], -1))
        visual_p = self.prefix_p == model.config.image_token_id
        self.register_buffer("visual", visual_p.nonzero()[:, 0])
        self.register_buffer("mask", packed_mask(visual_p.cpu(), SLOTS, BLOCK, False)[None, None].to(model.device))
        self.prefix_p: Tensor
        self.position: Tensor
        self.visual: Tensor
        self.mask: Tensor
        self.attention = register(place)
        d = model.config.get_text_config().hidden_size
        self.under = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 1 + len(KINDS) + 1 + len(COLORS)))
        self.comes = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * len(COMES)))
        self.ways = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 + len(WAYS)))
        self.tapped: list[Tensor] = []
        layers = model.model.language_model.layers
        layers[len(layers) // 2].register_forward_hook(self._tap)

    def _tap(self, module: Any, args: Any, output: Any) -> None:
        self.tapped = [output[0] if isinstance(output, tuple) else output]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``exact`` (b, q), and the losses ``answer``, ``under``, ``ways`` and ``comes``."""
        model, b = self.model, len(batch["pixels"])
        frames = batch["pixels"].flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        features_bnd = self.kin.features(model, frames).unflatten(0, (b, FRAMES))
        embed, decoder, place = model.get_input_embeddings(), model.model.language_model, len(self.prefix_p)
        prefix_bpd = embed(self.prefix_p)[None].expand(b, -1, -1)
        prefix_bpd = prefix_bpd.index_copy(1, self.visual, features_bnd.flatten(1, 2).to(prefix_bpd.dtype))
        x_bsd = torch.cat([prefix_bpd, embed(batch["ids"].flatten(1))], 1)
        before, decoder.config._attn_implementation = decoder.config._attn_implementation, self.attention
        hidden_bsd = decoder(
            inputs_embeds=x_bsd,
            attention_mask=self.mask,
            position_ids=self.position.expand(-1, b, -1),
            use_cache=False,
        ).last_hidden_state
        decoder.config._attn_implementation = before
        hidden_bqld = hidden_bsd[:, place:].unflatten(1, (SLOTS, BLOCK))
        logits = model.lm_head(hidden_bqld[:, :, :-1]).float()
        target, wanted, asked = batch["ids"][:, :, 1:], batch["answers"][:, :, 1:], batch["group"] >= 0
        loss = F.cross_entropy(logits.flatten(0, 2), target.flatten(), reduction="none").view_as(target)
        each = (loss * wanted).sum(-1) / wanted.sum(-1).clamp_min(1)
        under = self.under(features_bnd).float()
        kinds = 1 + len(KINDS)
        seen = F.cross_entropy(under[..., :kinds].flatten(0, 2), batch["under"][..., 0].flatten())
        seen = seen + F.cross_entropy(under[..., kinds:].flatten(0, 2), batch["under"][..., 1].flatten())
        last_bq = (batch["answers"].int().argmax(-1) - 1).clamp_min(0)  # the end of the question
        tapped = self.tapped[0][:, place:].unflatten(1, (SLOTS, BLOCK))
        tapped = tapped.gather(2, last_bq[..., None, None].expand(-1, -1, 1, tapped.shape[-1]))[:, :, 0]
        comes = self.comes(tapped).float().view(-1, len(COMES))
        ways = self.ways(self.tapped[0].index_select(1, self.visual)).float().flatten(0, 1)
        return {
            "exact": ((logits.argmax(-1) == target) | ~wanted).all(-1) & asked,
            "answer": (each * asked).sum() / asked.sum().clamp_min(1),
            "under": seen,
            "ways": F.cross_entropy(ways, batch["under"][..., 2].flatten(), ignore_index=0),
            "comes": F.cross_entropy(comes, batch["comes"].flatten(), ignore_index=-1),
        }


def train(learner: Learner, batches: Iterator[dict[str, Tensor]], given: argparse.Namespace, save: Any) -> int:
    """Train in place; how many films were seen."""
    device, begun, told, saved, seen = learner.prefix_p.device, time.monotonic(), 0.0, time.monotonic(), 0
    matrices = [one for one in learner.parameters() if one.dim() > 1]
    others = [one for one in learner.parameters() if one.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=given.rate, betas=(0.9, 0.98), weight_decay=0.02)
    learner.train()
    mean: dict[str, Tensor] = {}
    try:
        for batch in batches:
            done = (time.monotonic() - begun) / (60 * given.minutes)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = given.rate * min(done / WARM, 0.5 + 0.5 * math.cos(math.pi * done))
            batch = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                found = learner(batch)
            exact = found.pop("exact").sum() / (batch["group"] >= 0).sum()
            fade = max(0.0, 1 - done / FADED)
            loss = found["answer"] + fade * (0.5 * found["under"] + 0.5 * found["ways"] + 0.3 * found["comes"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            seen += given.films
            for name, value in {**found, "exact": exact}.items():
                mean[name] = value.detach() if name not in mean else mean[name] + 0.05 * (value.detach() - mean[name])
            if time.monotonic() - told > TOLD:
                told = time.monotonic()
                shown = ", ".join(f"{name} {float(value):.3f}" for name, value in mean.items())
                terminal.say(f"{seen} films, {shown}, {(1 - done) * given.minutes:.1f} minutes to go", stderr=True)
            if time.monotonic() - saved > 60:
                saved = time.monotonic()
                save()
    except KeyboardInterrupt:
        terminal.say("stopped; what there is is saved", stderr=True)
    learner.eval()
    return seen


@torch.no_grad()
def examined(learner: Learner, tokenizer: Any, films: int) -> dict[str, float]:
    """The share of right answers to held-out questions, by group."""
    right, asked = Counter[str](), Counter[str]()
    size = min(32, films)
    for batch in Asked(learner.task, tokenizer, size, "heldout", max(1, films // size)):
        batch = {name: values.to(learner.prefix_p.device) for name, values in batch.items()}
        exact = learner(batch)["exact"]
        for number, name in enumerate(learner.task.groups):
            mine = batch["group"] == number
            right[name] += int((exact & mine).sum())
            asked[name] += int(mine.sum())
    return {name: right[name] / max(1, asked[name]) for name in learner.task.groups}


def main(words: Sequence[str] | None = None) -> int:
    """Train, save, examine; the exit code."""
    from transformers import AutoModelForImageTextToText

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--begin", type=Path, help=f"a folder of this script's to go on from; default: {START}")
    parser.add_argument("--films", type=int, default=64, help="in a batch")
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw; 0: in this one")
    parser.add_argument("--exam", type=int, default=512, help="held-out films, at the end")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    given = parser.parse_args(words)
    try:
        device, task, place = find_device(given.device), Films(), given.begin or folder(START)
        torch.manual_seed(0)
        model: Any = load(AutoModelForImageTextToText, place)
        processor = load_processor(place)
        processor.chat_template = processor.chat_template.replace(CLOSING, "")
        learner = Learner(model.to(device).float(), processor, task).to(device)

        def save() -> None:
            # the head is the embedding, and saved once
            state = {name: one.to(torch.bfloat16) for name, one in model.state_dict().items() if name != HEAD}
            model.save_pretrained(given.out, state_dict=state)
            config = given.out / "config.json"  # transformers notes the type of the weights in memory
            config.write_text(config.read_text().replace('"dtype": "float32"', '"dtype": "bfloat16"'))
            for name in AS_THEY_ARE:  # a processor loaded without torchvision would be saved without its part for films
                shutil.copyfile(place / name, given.out / name)
            (given.out / "chat_template.jinja").write_text(processor.chat_template)

        drawn = Asked(task, processor.tokenizer, given.films)
        fed = DataLoader(
            drawn, batch_size=None, num_workers=given.workers, prefetch_factor=4 if given.workers else None
        )
        seen = train(learner, iter(fed), given, save)
        save()
        terminal.say(f"{given.out}: trained on {seen} films")
        found = examined(learner, processor.tokenizer, given.exam)
        groups = ", ".join(f"{name} {100 * share:.1f}" for name, share in found.items())
        terminal.say(f"held out: {100 * sum(found.values()) / len(found):.1f} % ({groups})")
    except EosError as error:
        terminal.say(f"training: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    terminal.run(main)
