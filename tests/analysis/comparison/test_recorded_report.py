"""The whole report of a comparison whose records are made up, so that every cell can be told."""

from types import SimpleNamespace

import numpy as np
import pytest

from eos_platform.analysis.comparison import progress
from eos_platform.analysis.comparison.differences import differences, hypervolumes
from eos_platform.analysis.comparison.points import best_searched, points_of, unreachable_of
from eos_platform.analysis.comparison.report import markdown
from eos_platform.analysis.stats.bitpack import pack
from eos_platform.analysis.stats.intervals import paired_difference, wilson

QUESTIONS = 400
HEADER = {
    "model": "made-up", "task": "scenes", "questions": QUESTIONS, "text_tokens": 21, "samples": 1234, "batch": 8,
    "device": "a GPU", "dtype": "bfloat16", "python": "3.11", "torch": "2.13",
    "settings": {
        "operators": ["one.json"], "model": "made-up", "ratios": [0.3, 0.125], "designs": None, "tune": 3,
        "questions": QUESTIONS, "seeds": None, "search": {"steps": 9, "layers": [0, 2]},
    },
}  # fmt: skip


def record(number, name, family, ratio, share, **more):
    rng = np.random.default_rng(number)
    correct = np.arange(QUESTIONS) < round(share * QUESTIONS)
    correct ^= rng.random(QUESTIONS) < 0.05
    accuracy = float(correct.mean())
    cost = 1.0 if ratio is None else ratio * (0.99 - 0.01 * number)
    return {
        "status": "measured", "key": f"key {number}", "name": name, "family": family, "variant": "", "design": "",
        "ratio": ratio, "seed": None, "accuracy": accuracy, "compute_ratio": cost, "mean_tokens": 576.0 * cost,
        "tokens_left": int(500 * cost), "regime": "prune", "questions": QUESTIONS, "flops": 1e9 * cost,
        "counted_flops": 1.01e9 * cost + number, "whole_model_ratio": 0.2 + 0.8 * cost, "prefill_ms": 3.25 * cost + 1, 
        "memory_mb": 900.6 * cost,
        "samples": 10 * number, "validation": accuracy - 0.01, "seconds": 5.0, "knobs": {}, "correct": pack(correct),
        "per_skill": {"counting": accuracy / 2, "naming": min(1.0, accuracy * 1.1)}, **more,
    }  # fmt: skip


def records():
    hand = {"family": "hand-designed", "variant": "published"}
    made = [
        record(0, "unreduced", "unreduced", None, 0.98),
        record(1, "searched at 0.3", "searched", 0.3, 0.97, seed=0),
        record(2, "searched at 0.3, seed 1", "searched", 0.3, 0.965, seed=1, validation=0.999),
        record(3, "fastv at 0.3", ratio=0.3, share=0.9, **hand, design="fastv"),
        record(4, "tome at 0.3, tuned", "hand-designed", 0.3, 0.955, variant="tuned", design="tome", knobs={"more": 2}),
        record(5, "searched at 0.125", "searched", 0.125, 0.95, seed=0),
        record(6, "fastv at 0.125", ratio=0.125, share=0.7, **hand, design="fastv"),
        record(7, "pool at 0.125", ratio=0.125, share=0.94, **hand, design="pool", compute_ratio=0.08),
        record(8, "zero", ratio=None, share=0.4, **hand, design="zero", compute_ratio=0.04),
        record(9, "fastv at 0.125", ratio=0.125, share=0.72, **hand, design="fastv"),  # measured once more
    ]
    lost = {"status": "unreachable", "name": "vtw at 0.125", "design": "vtw", "variant": "published", "ratio": 0.125}
    return [*made, {**lost, "reason": "too dear"}]


def test_recorded_report(recorded):
    points = points_of(records())
    text = markdown(HEADER, points, differences(points), hypervolumes(points), unreachable_of(records()))
    recorded("report", {str(number): line for number, line in enumerate(text.splitlines())})


def test_recorded_points(recorded):
    points = points_of(records()).drop(columns="correct")
    recorded(
        "points", {name: points[name].astype(object).where(points[name].notna(), None).tolist() for name in points}
    )
    assert list(points.index) == list(range(len(points)))
    whole = points_of(records())
    assert whole.loc[best_searched(whole, 0.3), "name"] == "searched at 0.3, seed 1"  # best on validation
    assert whole.loc[best_searched(whole, 0.125), "name"] == "searched at 0.125"
    assert "key 9" in set(whole["key"])
    assert "key 6" not in set(whole["key"])


def test_recorded_intervals(recorded):
    rng = np.random.default_rng(5)
    a, b = rng.random(300) < 0.9, rng.random(300) < 0.8
    found = {f"wilson {level}": list(wilson(a, level)) for level in (0.5, 0.9, 0.95)}
    found |= {f"difference {level}": list(paired_difference(a, b, level, 500)) for level in (0.5, 0.9, 0.95)}
    recorded("intervals", found | {"one sample": list(paired_difference(a, b, samples=1))})


def test_time_left_is_what_is_left_at_the_pace_so_far(monkeypatch, capsys):
    clock = iter([100.0, 110.0, 130.0, 131.0, 140.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = progress.Lines(6, 2)
    with lines:
        for one in records()[1:5]:
            lines.finished(one)
    output = capsys.readouterr().err.splitlines()
    assert output[0] == "2 of 6 measured earlier"
    # 10 s for one and three left; 30 s for two and two left; 31 s for three and one left; none left
    assert [line.rpartition("about ")[2] for line in output[1:4]] == ["30 s left", "30 s left", "10 s left"]
    assert output[4].startswith("[6/6] tome at 0.3, tuned: ")
    assert "left" not in output[4]


@pytest.mark.parametrize(("terminal", "kind"), [("stderr", progress.Bar), ("stdout", progress.Lines)])
def test_a_bar_is_drawn_where_errors_go_to_a_terminal(monkeypatch, terminal, kind):
    monkeypatch.setattr(f"sys.{terminal}", SimpleNamespace(isatty=lambda: True, write=len, flush=int, encoding="utf-8"))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    made = progress.make_progress(5, 2)
    assert type(made) is kind
    assert (made.total, made.done) == (5, 2)
