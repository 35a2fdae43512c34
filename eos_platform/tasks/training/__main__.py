"""Train a bundled model from nothing.

On one GPU:   python -m eos_platform.tasks.training --grid 24 --minutes 9 --out eos_platform/models/bundled/bundled
On several:   torchrun --nproc-per-node 2 -m eos_platform.tasks.training --grid 24 ...
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.models.bundled.build import new_model, new_tokenizer
from eos_platform.models.loading.pretrained import load, load_model
from eos_platform.tasks.scenes import CONFIGS, make_scene
from eos_platform.tasks.scenes.questions import SKILLS, ask
from eos_platform.tasks.training.data import BLOCK, NAMES, Pictures
from eos_platform.tasks.training.learner import Learner


def corpus(grid: int) -> list[str]:
    """The words the tokenizer is made of: questions and answers of training scenes, signs spelled apart."""
    lines = []
    for index in range(1500):
        for question in ask(make_scene("train", index, CONFIGS[grid]), np.random.default_rng([index, 7])):
            spelled = " ".join(question.answer) if question.skill == "text" else question.answer
            lines += [question.text, " " + spelled]
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, default=24, choices=sorted(CONFIGS), help="visual tokens a side")
    parser.add_argument("--minutes", type=float, default=9.0, help="training time; rates follow the clock")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--resume", type=Path, help="continue from the weights in this folder")
    parser.add_argument("--chunk", type=int, default=64, help="pictures a worker renders at once")
    parser.add_argument("--chunks", type=int, default=4, help="chunks a step and GPU")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="peak learning rate")
    parser.add_argument(
        "--auxiliary-until", type=float, default=0.7, help="share of the time the auxiliary loss fades over"
    )
    parser.add_argument(
        "--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="rendering processes a GPU"
    )
    parser.add_argument("--first", type=int, default=0, help="first chunk of training pictures")
    parser.add_argument("--questions", type=int, default=4096, help="held-out pictures for the closing accuracy")
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    torch.manual_seed(0)
    if options.resume:  # with its own tokenizer: the words' numbers must stay
        tokenizer = load(PreTrainedTokenizerFast, options.resume)
        model = load_model(LlavaForConditionalGeneration, options.resume, dtype=torch.float32)
    else:
        tokenizer = new_tokenizer(corpus(options.grid))
        model = new_model(options.grid, len(tokenizer))
    learner = Learner(model, options.grid, len(SKILLS), BLOCK).to(device)
    if not options.no_compile:
        learner.compile_layers()
    wrapped: Any = (
        DistributedDataParallel(learner, device_ids=[device.index] if cuda else None) if world > 1 else learner
    )
    pictures = Pictures(tokenizer, options.grid, "train", options.chunk, options.first + rank, world, None)
    loader = DataLoader(
        pictures,
        batch_size=None,
        num_workers=options.workers,
        pin_memory=cuda,
        prefetch_factor=4,
        persistent_workers=True,
    )
    train(wrapped, iter(loader), options, device, rank, world)
    if rank == 0:
        accuracy = evaluate(learner, tokenizer, options, device)
        model.bfloat16()
        model.save_pretrained(options.out, max_shard_size="10MB")
        tokenizer.save_pretrained(options.out)
        (options.out / "training.json").write_text(strict_json.dumps(accuracy, indent=2) + "\n")
        terminal.say(strict_json.dumps(accuracy))
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def train(learner: Any, chunks: Any, options: argparse.Namespace, device: torch.device, rank: int, world: int) -> None:
    """AdamW, cosine rate by the clock, auxiliary loss fading linearly."""
    decay = [p for p in learner.parameters() if p.ndim > 1]
    plain = [p for p in learner.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=device.type == "cuda")
    started: float | None = None
    step, seen, logged = 0, 0, 0.0
    right = torch.zeros(len(NAMES), 2, device=device)
    progress = 0.0
    while True:
        if started is not None and step % 10 == 0:
            progress = (time.monotonic() - started) / (60 * options.minutes)
            if world > 1:  # all ranks must follow the same clock
                shared = torch.tensor([progress], device=device)
                dist.broadcast(shared, 0)
                progress = float(shared)
            if progress >= 1:
                return
        batch = _batch(chunks, options.chunks, device)
        rate = options.rate * min(1.0, (step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        weight = max(0.0, 1 - progress / options.auxiliary_until) if options.auxiliary_until > 0 else 0.0
        with torch.autocast(device.type, torch.bfloat16):
            losses = learner(batch)
        loss = losses["answer"] + weight * (0.3 * losses["auxiliary"] + 0.5 * losses["pointing"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        step, seen = step + 1, seen + world * len(batch["pixels"])
        _count(right, batch["skills"], losses["exact"])
        if started is None:  # compiling is not training
            started = time.monotonic()
            terminal.say("first step done")
        now = time.monotonic() - started
        if rank == 0 and now - logged >= 15:
            logged = now
            shares = (right[:, 0] / right[:, 1].clamp(min=1)).tolist()
            skills = " ".join(f"{name}:{100 * share:.0f}" for name, share in zip(NAMES, shares, strict=True))
            terminal.say(
                f"{now:4.0f}s step {step} pictures {seen} ({seen / now:.0f}/s) answer {losses['answer'].item():.3f} "
                f"auxiliary {losses['auxiliary'].item():.2f} pointing {losses['pointing'].item():.2f} | {skills}"
            )
            right.zero_()


def _batch(chunks: Any, count: int, device: torch.device) -> dict[str, torch.Tensor]:
    parts = [next(chunks) for _ in range(count)]
    return {key: torch.cat([part[key].to(device, non_blocking=True) for part in parts]) for key in parts[0]}


def _count(right: torch.Tensor, skills: torch.Tensor, exact: torch.Tensor) -> None:
    has_question = (skills >= 0).flatten()
    index = skills.flatten().clamp(min=0)
    right[:, 0].index_add_(0, index, (exact.flatten() & has_question).float())
    right[:, 1].index_add_(0, index, has_question.float())


@torch.no_grad()
def evaluate(learner: Learner, tokenizer: Any, options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Exact answers on held-out pictures, per skill and overall, with the weights as they will be saved (bf16)."""
    learner.model.bfloat16()
    learner.model.float()
    learner.eval()
    right = torch.zeros(len(NAMES), 2, device=device)
    pictures = Pictures(tokenizer, options.grid, "heldout", options.chunk, 0, 1, options.questions)
    for part in DataLoader(pictures, batch_size=None, num_workers=min(options.workers, 12)):
        batch = {key: value.to(device) for key, value in part.items()}
        with torch.autocast(device.type, torch.bfloat16):
            _count(right, batch["skills"], learner(batch)["exact"])
    shares = {name: float(r / a.clamp(min=1)) for name, (r, a) in zip(NAMES, right, strict=True)}
    return {"overall": float(right[:, 0].sum() / right[:, 1].sum()), **shares}


if __name__ == "__main__":
    terminal.run(main)
