"""A search of about a second that keeps its state, goes on from it, and writes down what it did.

``executions.log`` beside the states has one line for every beginning, step and end, written before anything is
reported: what really ran, whatever the stores say.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from eos_platform.common.files import write_atomic
from eos_platform.costs.flops import DecoderShape
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.trial import Functions
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.search.checkpoint import FILE

TARGET = Target(layers=8, grid=(24, 24), model="fake")
SHAPE = DecoderShape(layers=8, hidden=64, heads=4, kv_heads=4, head_dim=16, intermediate=128, vocab=100)
LOG = "executions.log"
# search_questions says how a search goes
WELL, NAN, STARVES, HUNGRY = 1, 2, 3, 4


def load(model: str, task: str) -> Any:
    return SimpleNamespace(name=model, target=TARGET, shape=SHAPE, text_tokens=30, model=None)


def log(checkpoint: Path, what: str, **values: Any) -> None:
    line = json.dumps({"what": what, "search": checkpoint.name, "pid": os.getpid(), **values}) + "\n"
    path = Path(os.environ.get("EOS_FAULT_LOG", checkpoint.parent.parent / LOG))
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


def figures(budget: float, learning_rate: float) -> tuple[float, float]:
    """What a search finds: accuracy and compute ratio."""
    return 0.5 + 0.4 * budget**0.5 + learning_rate / 10, budget * 0.9


def search(workload: Any, config: Any, *, report: Any = None, checkpoint: Path) -> Any:
    """Deterministic: what it finds depends on the configuration alone."""
    state = checkpoint / FILE
    step = json.loads(state.read_text())["step"] if state.exists() else 0
    log(checkpoint, "begin", step=step)
    while step < config.steps:
        step += 1
        time.sleep(float(os.environ.get("EOS_FAULT_STEP", "0.05")))
        if config.search_questions == STARVES and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is out
        if config.search_questions == HUNGRY and step == 3:
            eat(4 << 30)
        log(checkpoint, "step", step=step)
        if step % 4 == 0:
            write_atomic(state, json.dumps({"step": step, "padding": "x" * int(os.environ.get("EOS_FAULT_SIZE", "0"))}))
        report(step, {"loss": 1.0 / step, "soft_compute_ratio": config.budget})
    keep = max(1, int(576 * config.budget * 0.8))
    operator = OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=keep, score={"norm": 1.0}),))
    accuracy, ratio = figures(config.budget, config.learning_rate)
    log(checkpoint, "end")
    return SimpleNamespace(
        operator=operator,
        accuracy=float("nan") if config.search_questions == NAN else accuracy,
        compute_ratio=ratio,
        relaxed_accuracy=accuracy + 0.01,
        mean_tokens=operator.mean_tokens,
        samples=config.steps * config.batch_size,
        seconds=1.0,
        history=[],
    )


def eat(size: int) -> bytearray:
    """Take memory for real, and hold it until somebody objects."""
    held = bytearray(size)
    for place in range(0, size, 4096):
        held[place] = 1
    time.sleep(30)
    return held


def evaluate(workload: Any, operator: OperatorSpec | None, split: str, questions: int) -> Any:
    import numpy as np

    keep = TARGET.tokens if operator is None else operator.tokens_left
    right = round(questions * (0.4 + 0.5 * (keep / TARGET.tokens) ** 0.3))
    correct = np.arange(questions) < right
    return SimpleNamespace(accuracy=right / questions, scores=correct, per_skill={}, questions=questions)


def check(workload: Any, config: Any) -> None:
    """Everything is possible here."""


FUNCTIONS = Functions(load=load, search=search, evaluate=evaluate, check=check)


def study_file(**changes: Any) -> StudyFile:
    """A study of these searches; ``random`` proposes the same at any pace."""
    values = {
        "name": "faults",
        "model": "fake",
        "search": {"steps": 20},
        "space": {"budget": {"float": [0.05, 0.5], "log": True}, "learning_rate": {"float": [0.01, 0.1]}},
        "sampler": {"name": "random", "seed": 5},
        "trials": 12,
        "concurrent": 2,
        "final": {"questions": 50, "baselines": []},
    }
    return StudyFile.of({**values, **changes})
