"""Train one model: ``python -m eos_platform.tasks.scenes_v2.training.run --model bundled-qwen --out FOLDER``."""

from __future__ import annotations

import argparse
import copy
import math
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from eos_platform.common import strict_json
from eos_platform.models.loading.pretrained import load, load_model
from eos_platform.tasks.scenes_v2.training.data import NAMES, Pictures
from eos_platform.tasks.scenes_v2.training.exam import examine
from eos_platform.tasks.scenes_v2.training.families import TRAINABLE, Family, family
from eos_platform.tasks.scenes_v2.training.feed import Feed
from eos_platform.tasks.scenes_v2.training.learner import Learner, compile_layers, uncompile
from eos_platform.tasks.scenes_v2.training.muon import Muon
from eos_platform.tasks.scenes_v2.training.words import new_tokenizer, with_specials

WARMUP = 200  # steps until the full rate
LOSSES = ("answer", "auxiliary", "pointing")
MATRICES = 2.0  # times the rate: what Muon moves the matrices by


def _has_questions(seeing: bool, losses: dict[str, Any]) -> bool:
    """Whether a batch can be answered; while the tower alone is trained, any will do."""
    return seeing or bool((losses["skills"] >= 0).any())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=sorted(TRAINABLE))
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--minutes", type=float, default=9.0, help="training time, compiling counted in")
    parser.add_argument("--until", type=float, help="the same as a point in time (seconds of the clock), for several")
    parser.add_argument("--tokenizer", type=Path, help="folder of the tokenizer; made anew if left out")
    parser.add_argument("--resume", type=Path, help="continue from the weights in this folder")
    parser.add_argument("--batch", type=int, default=128, help="pictures a step, all of one size")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="muon")
    parser.add_argument("--auxiliary-until", type=float, default=0.8, help="share of the time the auxiliary loss fades")
    parser.add_argument("--see-first", type=float, default=0.15, help="share of the time for the auxiliary loss alone")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="rendering processes")
    parser.add_argument("--first", type=int, default=0, help="first chunk of training pictures")
    parser.add_argument("--pictures", type=int, default=768, help="held-out pictures of the closing examination")
    parser.add_argument("--save-every", type=float, default=90.0, help="seconds between checkpoints")
    parser.add_argument("--again", type=int, default=2, help="times a batch may come again while no new one is ready")
    parser.add_argument(
        "--control", type=Path, help='JSON file looked at while training: {"until": ..., "rate": {MODEL: share}}'
    )
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    logging.disable_progress_bar()
    until = options.until or time.time() + 60 * options.minutes
    torch.set_num_threads(max(1, min(4, (os.cpu_count() or 1) // 4)))
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    kin = family(options.model)
    source = options.resume or options.tokenizer
    tokenizer = load(PreTrainedTokenizerFast, source) if source else new_tokenizer()
    ids = with_specials(tokenizer, kin.specials)
    model = kin.new_model(len(tokenizer), ids)
    if options.resume:
        model = load_model(type(model), options.resume, dtype=torch.float32)
    learner = Learner(model, kin, tokenizer).to(device)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {device}", flush=True)
    pictures = Pictures(tokenizer, kin.sizes, options.batch, options.first)
    summary = train(learner, kin, tokenizer, pictures, options, device, until)
    uncompile(model, kin)
    save(model, kin, tokenizer, options.out, summary)  # whatever happens next
    with torch.no_grad():
        for parameter in model.parameters():  # examined as saved; not the buffers: frequencies stay exact when loaded
            parameter.copy_(parameter.bfloat16())
    summary |= examine(learner, tokenizer, kin, options.pictures, options.batch, min(8, options.workers), device)
    save(model, kin, tokenizer, options.out, summary)
    print("done " + strict_json.dumps({key: summary[key] for key in ("overall", "skills")}), flush=True)


def save(model: Any, kin: Family, tokenizer: Any, out: Path, summary: dict[str, Any]) -> None:
    """The model in bfloat16, its processor (the tokenizer alone where it cannot be made here) and what is known."""
    new, old = out.with_name(out.name + ".new"), out.with_name(out.name + ".old")
    shutil.rmtree(new, ignore_errors=True)
    hooks = {layer: layer._forward_hooks for layer in kin.decoder(model).layers}
    for layer in hooks:  # the learner's; they do not belong to what is saved
        layer._forward_hooks = type(layer._forward_hooks)()
    try:
        learned = copy.deepcopy(model)
    finally:
        for layer, own in hooks.items():
            layer._forward_hooks = own
    uncompile(learned, kin)
    learned.bfloat16().save_pretrained(new, max_shard_size="10MB")
    mine = copy.deepcopy(tokenizer)
    kin.new_image_processor().save_pretrained(new)
    mine.save_pretrained(new)
    try:
        processor = kin.new_processor(mine)
        (new / "preprocessor_config.json").unlink(missing_ok=True)
        processor.save_pretrained(new)
    except Exception as error:  # of a package that is not there: pictures and words can be processed without
        summary = summary | {"processor": f"parts only: {str(error).strip().splitlines()[0]}"}
        kin.new_image_processor().save_pretrained(new)
    (new / "chat_template.jinja").write_text(kin.chat_template())
    (new / "training.json").write_text(strict_json.dumps(summary, indent=2) + "\n")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


class Optimizers:
    """Muon for the matrices inside the layers and AdamW for the rest, or AdamW for all."""

    def __init__(self, learner: Learner, options: argparse.Namespace, fused: bool) -> None:
        known = {id(p) for layer in learner.kin.layers(learner.model) for p in layer.parameters() if p.ndim == 2}
        all_ = [p for p in learner.parameters() if p.requires_grad]
        inside = [p for p in all_ if id(p) in known] if options.optimizer == "muon" else []
        rest = [p for p in all_ if options.optimizer != "muon" or id(p) not in known]
        self.muon = Muon(inside)
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=fused)

    def step(self, rate: float) -> None:
        """Move all weights, then forget the gradients."""
        self.muon.step(MATRICES * rate)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)


def train(
    learner: Learner,
    kin: Family,
    tokenizer: Any,
    pictures: Pictures,
    options: argparse.Namespace,
    device: torch.device,
    until: float,
) -> dict[str, Any]:
    """Cosine rate by the clock, auxiliary and pointing losses fading linearly.

    At first the tower alone learns to see, at a third of a step's cost: before it does, nothing can be answered.
    """
    optimizers = Optimizers(learner, options, device.type == "cuda")
    compiled = not options.no_compile
    if compiled:
        compile_layers(learner.model, kin)
    pictures.asking.fill_(options.see_first <= 0)
    feed = Feed(iter(_loader(pictures, options, device)), device, options.again)
    share = 1.0  # of the rate
    right = torch.zeros(len(NAMES), 2, device=device)
    began = time.time()
    started: float | None = None
    step, turned, seen, spoken, saved, progress, waited = 0, 0, 0, 0.0, began, 0.0, 0.0
    summary: dict[str, Any] = {"model": options.model, "sizes": sorted(set(kin.sizes))}
    summary["parameters"] = sum(p.numel() for p in learner.model.parameters())
    while progress < 1:
        before = time.time()
        seeing = progress < options.see_first
        if not seeing and not turned:
            feed.pool.clear()  # nothing was asked there
        batch = feed.next(partial(_has_questions, seeing))
        waited += time.time() - before
        if seeing and progress > 0.9 * options.see_first:
            pictures.asking.fill_(True)  # what is drawn ahead now will be answered
        weight = max(0.0, 1 - progress / options.auxiliary_until) if options.auxiliary_until > 0 else 0.0
        try:
            losses = _losses(learner, batch, device, seeing)
            loss = 0.15 * weight * losses["auxiliary"]
            if not seeing:
                loss = loss + losses["answer"] + 0.5 * weight * losses["pointing"]
            loss.backward()
        except Exception as error:
            if not compiled:
                raise
            print(f"not compiled: {type(error).__name__}: {str(error)[:300]}", flush=True)
            uncompile(learner.model, kin)
            compiled = False
            learner.zero_grad(set_to_none=True)
            continue
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        turned = turned or (0 if seeing else step + 1)
        warm = min(1.0, (step + 1) / WARMUP, (step + 2 - turned) / (WARMUP / 2) if turned else 1.0)
        optimizers.step(share * options.rate * warm * (0.5 + 0.5 * math.cos(math.pi * progress)))
        step, seen = step + 1, seen + len(batch["pixels"])
        if not seeing:
            _count(right, batch["skills"], losses["exact"])
        now = time.time()
        if started is None:
            started = now
            print(f"first step after {now - began:.0f} s", flush=True)
        progress = (now - started) / max(1.0, until - started)
        if now - spoken >= 15 or progress >= 1:
            spoken = now
            shares = (right[:, 0] / right[:, 1].clamp(min=1)).tolist()
            skills = " ".join(f"{name}:{100 * share:.0f}" for name, share in zip(NAMES, shares, strict=True))
            total = float(right[:, 0].sum() / right[:, 1].sum().clamp(min=1))
            parts = " ".join(f"{name} {losses[name].item():.2f}" for name in LOSSES if name in losses)
            speed = (
                f"{seen / (now - began):.0f}/s, {feed.fresh} new batches, waited {100 * waited / (now - began):.0f}%"
            )
            print(
                f"{now - began:4.0f}s {100 * progress:3.0f}% step {step} pictures {seen} ({speed}) {parts} "
                f"exact {100 * total:.1f} | {skills}",
                flush=True,
            )
            summary |= {
                "pictures": seen,
                "new_pictures": feed.fresh * options.batch,
                "steps": step,
                "minutes": round((now - began) / 60, 2),
                "training": total,
            }
            right.zero_()
            until, share = _controlled(options, until, share)
        if now - saved >= options.save_every and progress < 0.95:
            save(learner.model, kin, tokenizer, options.out, summary)
            saved = time.time()
    feed.close()
    return summary


def _controlled(options: argparse.Namespace, until: float, share: float) -> tuple[float, float]:
    """The end of training and the share of the rate, as the control file has them now."""
    try:
        wanted = strict_json.loads(options.control.read_text()) if options.control else {}
        new = float(wanted.get("until", until)), float(wanted.get("rate", {}).get(options.model, share))
    except (OSError, ValueError):
        return until, share
    if new != (until, share):
        print(f"from now on until {new[0]:.0f}, {new[1]} times the rate", flush=True)
    return new


def _loader(pictures: Pictures, options: argparse.Namespace, device: torch.device) -> Any:
    return DataLoader(
        pictures,
        batch_size=None,
        num_workers=options.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=3 if options.workers else None,
        persistent_workers=options.workers > 0,
        worker_init_fn=_behind,
        in_order=False,
    )


def _behind(worker: int) -> None:
    os.nice(5)  # the training processes come first


def _losses(learner: Learner, batch: dict[str, Tensor], device: torch.device, seeing: bool) -> dict[str, Tensor]:
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        losses: dict[str, Tensor] = learner(batch, seeing)
    return losses


def _count(right: Tensor, skills: Tensor, exact: Tensor) -> None:
    has_question = (skills >= 0).flatten()
    index = skills.flatten().clamp(min=0)
    right[:, 0].index_add_(0, index, (exact.flatten() & has_question).float())
    right[:, 1].index_add_(0, index, has_question.float())


if __name__ == "__main__":
    main()
