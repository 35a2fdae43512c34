"""The closing examination: held-out questions per skill, group and difficulty; the same on pictures of a quarter."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from eos_platform.tasks.scenes_v2.questions import GROUP_OF
from eos_platform.tasks.scenes_v2.sensitive import sensitive
from eos_platform.tasks.scenes_v2.training.data import NAMES, Exam
from eos_platform.tasks.scenes_v2.training.families import Family
from eos_platform.tasks.scenes_v2.training.learner import Learner


@torch.no_grad()
def answers(
    learner: Learner,
    tokenizer: Any,
    size: tuple[int, int],
    pictures: int,
    chunk: int,
    workers: int,
    device: torch.device,
    quarter: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(right, skill number, difficulty) of every question about the first held-out pictures, in order."""
    exam = Exam(tokenizer, size, chunk, "heldout", range(pictures), quarter)
    right, skills, difficulty = [], [], []
    for part in DataLoader(exam, batch_size=None, num_workers=workers):
        batch = {key: value.to(device) for key, value in part.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            exact = learner(batch)["exact"]
        has_question = part["skills"] >= 0
        right.append(exact.cpu()[has_question].numpy())
        skills.append(part["skills"][has_question].numpy())
        difficulty.append(part["difficulty"][has_question].numpy())
    return np.concatenate(right), np.concatenate(skills), np.concatenate(difficulty)


def examine(
    learner: Learner, tokenizer: Any, kin: Family, pictures: int, chunk: int, workers: int, device: torch.device
) -> dict[str, Any]:
    """What ``training.json`` tells of the trained model."""
    began = time.time()
    learner.eval()
    size = kin.sizes[0]
    right, skills, difficulty = answers(learner, tokenizer, size, pictures, chunk, workers, device)
    names = [NAMES[skill] for skill in skills]
    groups = np.array([GROUP_OF[name] for name in names])
    summary: dict[str, Any] = {
        "questions": len(right),
        "overall": float(right.mean()),
        "skills": {n: float(right[skills == k].mean()) for k, n in enumerate(NAMES) if (skills == k).any()},
        "asked": {n: int((skills == k).sum()) for k, n in enumerate(NAMES)},
        "groups": {group: float(right[groups == group].mean()) for group in np.unique(groups).tolist()},
        "difficulty": {str(d): float(right[difficulty == d].mean()) for d in np.unique(difficulty).tolist()},
    }
    shrunk, _, _ = answers(learner, tokenizer, size, pictures, chunk, workers, device, quarter=True)
    subset = sensitive(right, shrunk, names, difficulty.tolist())
    summary["quarter"] = {
        "overall": float(shrunk.mean()),
        "skills": {n: float(shrunk[skills == k].mean()) for k, n in enumerate(NAMES) if (skills == k).any()},
    }
    summary["sensitive"] = {"share": subset.share, "skills": subset.skills, "difficulties": subset.difficulties}
    for other in sorted(set(kin.sizes) - {size}):
        some, _, _ = answers(learner, tokenizer, other, max(chunk, pictures // 8), chunk, workers, device)
        summary.setdefault("other_sizes", {})["x".join(map(str, other))] = float(some.mean())
    summary["examined_in_s"] = round(time.time() - began, 1)
    return summary
