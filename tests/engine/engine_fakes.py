"""A search that takes milliseconds, so that the engine is tested with a real Ray, a real Optuna and a real MLflow.

The field ``search_questions`` of a trial says how it goes: see BEHAVIOURS.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.trial import Functions
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

WELL, NAN, RAISES, MISSING, DIES, SLOW, BAD_INPUT = 1, 2, 3, 4, 5, 6, 7
TARGET = Target(layers=8, grid=(24, 24), model="fake")
SHAPE = DecoderShape(layers=8, hidden=64, heads=4, kv_heads=4, head_dim=16, intermediate=128, vocab=100)


def load(model: str, task: str) -> Any:
    if model == "missing":
        raise EosError("no model folder 'missing'")
    return SimpleNamespace(name=model, target=TARGET, shape=SHAPE, text_tokens=30, model=None, loaded=time.time())


def search(
    workload: Any, config: Any, *, report: Any = None, checkpoint: Path | None = None, measure: Any = None
) -> Any:
    """Accuracy grows with the budget and, less so, with the learning rate."""
    behaviour = config.search_questions
    if behaviour == RAISES:
        raise ValueError("the loss\nexploded")
    if behaviour == BAD_INPUT:
        raise EosError("batch_size: more than the questions there are")
    begun = checkpoint / "begun"
    again = begun.exists()
    checkpoint.mkdir(parents=True, exist_ok=True)
    begun.touch()
    for step in range(1, config.steps + 1):
        report(step, {"loss": 1.0 / step, "soft_compute_ratio": config.budget})
        if behaviour == SLOW:
            time.sleep(0.5)
        if behaviour == DIES and not again and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    keep = max(1, int(576 * config.budget * 0.8))
    operator = OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=keep, score={"norm": 1.0}),))
    accuracy = 0.5 + 0.4 * config.budget**0.5 + config.learning_rate / 10
    return SimpleNamespace(
        operator=operator,
        accuracy=float("nan") if behaviour == NAN else None if behaviour == MISSING else accuracy,
        compute_ratio=float(compute_ratio(operator, SHAPE, 30)),
        relaxed_accuracy=accuracy + 0.01,
        mean_tokens=operator.mean_tokens,
        samples=config.steps * config.batch_size,
        seconds=0.1,
        resumed=again,
        history=[],
    )


def evaluate(workload: Any, operator: OperatorSpec | None, split: str, questions: int) -> Any:
    keep = TARGET.tokens if operator is None else operator.tokens_left
    right = round(questions * (0.4 + 0.5 * (keep / TARGET.tokens) ** 0.3))
    return SimpleNamespace(
        accuracy=right / questions,
        scores=np.arange(questions) < right,
        per_skill={"count": right / questions},
        questions=questions,
    )


FUNCTIONS = Functions(load=load, search=search, evaluate=evaluate)


def study_file(**changes: Any) -> StudyFile:
    """A study of the fakes."""
    values = {
        "name": "tiny",
        "model": "fake",
        "search": {"steps": 4},
        "space": {
            "budget": {"choice": [0.05, 0.1, 0.2, 0.4]},
            "learning_rate": {"float": [0.01, 0.1], "log": True},
            "search_questions": {"choice": [1, 2, 3, 4, 5, 6, 7]},
        },
        "trials": 6,
        "concurrent": 2,
        "final": {"questions": 100, "ratios": 2},
    }
    return StudyFile.of({**values, **changes})
