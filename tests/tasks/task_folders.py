"""Small random models of real classes with their real processors, saved as folders, and questions about pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from task_processors import MADE

from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES


def model_folder(folder: Path, family: str) -> Path:
    """A model and its processor, as ``save_pretrained`` writes them."""
    fresh(SAMPLES[family]).save_pretrained(folder)
    MADE[family]().save_pretrained(folder)
    return folder


def questions_file(folder: Path, pictures: int = 40, *, size: int = 16) -> Path:
    """Two questions about each of some pictures of noise, in two groups."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(pictures):
        name = f"pictures/{number}.png"
        Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(folder / name)
        rows.append({"image": name, "question": f"w{5 + number % 30} w9", "answer": "w7", "group": "odd"})
        rows.append({"image": name, "question": "w11", "answers": ["w8 w9", "W12"], "group": "even"})
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
