"""The table that papers print: each task's own number, unreduced beside reduced, in per cent of it, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eos_platform.analysis.benchmark.run import UNREDUCED, Asked
from eos_platform.tasks.benchmarks.base import Benchmark, mean
from eos_platform.tasks.files import Files

SAMPLES = 2000
COLUMNS = ("task", "number", "operator", "questions", "value", "low", "high", "of_unreduced", "of_low", "of_high")


def rows_of(asked: Asked, samples: int = SAMPLES, seed: int = 0) -> list[dict[str, Any]]:
    """A row for each operator: the headline, its interval, and per cent of the unreduced model's, with its own.

    Both intervals come from one bootstrap over questions (over pictures or circles where these count as one), paired.
    """
    task, names = asked.task, list(asked.scores)
    scores_kq = np.asarray([asked.scores[name] for name in names], dtype=float)
    headline = task.headline if isinstance(task, Benchmark) else "accuracy"
    drawn_ks = resampled(asked, scores_kq, samples, seed)
    scale = 100.0 if not isinstance(task, Benchmark) or task.unit == "%" else 1.0
    base = names.index(UNREDUCED)
    result = []
    values = [summary_of(asked, name)[headline] for name in names]
    for place, name in enumerate(names):
        low, high = np.quantile(drawn_ks[place], [0.025, 0.975])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio_s = np.where(drawn_ks[base] > 0, 100 * drawn_ks[place] / drawn_ks[base], np.nan)
        of = 100 * values[place] / values[base] if values[base] else float("nan")
        of_low, of_high = (
            np.nanquantile(ratio_s, [0.025, 0.975]) if np.isfinite(ratio_s).any() else (float("nan"), float("nan"))
        )
        result.append(
            dict(
                zip(
                    COLUMNS,
                    (
                        *(task.name, headline, name, len(asked.questions)),
                        *(scale * values[place], scale * float(low), scale * float(high)),
                        *(of, float(of_low), float(of_high)),
                    ),
                    strict=True,
                )
            )
        )
    return result


def summary_of(asked: Asked, name: str) -> dict[str, float]:
    """All official numbers."""
    scores = asked.scores[name]
    summary = getattr(asked.task, "summary", None)
    return dict(summary(asked.questions, scores)) if summary is not None else {"accuracy": mean(scores)}


def average(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Per cent of the unreduced model by operator, the mean over tasks."""
    names = dict.fromkeys(row["operator"] for row in rows)
    return {name: mean([row["of_unreduced"] for row in rows if row["operator"] == name]) for name in names}


def resampled(asked: Asked, scores_kq: NDArray[np.float64], samples: int, seed: int) -> NDArray[np.float64]:
    """The headline of each operator in each resample (k, samples)."""
    rng = np.random.default_rng(seed)
    task = asked.task
    if isinstance(task, Benchmark) and task.headline == "f1":
        return _f1(asked, scores_kq, samples, rng)
    strata = [(1.0, [[place] for place in range(scores_kq.shape[1])])]
    worth: Any = mean
    if isinstance(task, (Benchmark, Files)):
        strata, worth = task.strata(asked.questions), task.worth
    total_ks = np.zeros((len(scores_kq), samples))
    for weight, units in strata:
        values_ku = np.asarray([[worth(scores[places].tolist()) for places in units] for scores in scores_kq])
        total_ks += weight * _means(values_ku, samples, rng)
    return total_ks


def _means(values_ku: NDArray[np.float64], samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of resampled units: by how often each joint outcome comes up, so that no array is units by samples."""
    outcomes_ok, counts_o = np.unique(values_ku.T, axis=0, return_counts=True)
    if len(outcomes_ok) <= 4096:
        drawn_so = rng.multinomial(counts_o.sum(), counts_o / counts_o.sum(), samples)
        return (drawn_so @ outcomes_ok / counts_o.sum()).T
    picked = [values_ku[:, rng.integers(0, values_ku.shape[1], values_ku.shape[1])].mean(1) for _ in range(samples)]
    return np.asarray(picked).T


def _f1(asked: Asked, scores_kq: NDArray[np.float64], samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The mean over categories of F1 (yes is positive)."""
    groups = np.asarray([one.group for one in asked.questions])
    wanted_q = np.asarray([one.answer == "yes" for one in asked.questions], dtype=float)
    names = dict.fromkeys(groups.tolist())
    total_ks = np.zeros((len(scores_kq), samples))
    for name in names:
        mine = groups == name
        joint, counts_o = np.unique(np.vstack([wanted_q[mine], scores_kq[:, mine]]).T, axis=0, return_counts=True)
        drawn_so = rng.multinomial(counts_o.sum(), counts_o / counts_o.sum(), samples)
        yes_o, right_ok = joint[:, :1] == 1, joint[:, 1:] == 1
        hit_sk = drawn_so @ (yes_o & right_ok)
        wrong_sk = drawn_so @ ~right_ok  # missed ones and false alarms
        total_ks += (2 * hit_sk / np.maximum(2 * hit_sk + wrong_sk, 1)).T / len(names)
    return total_ks
