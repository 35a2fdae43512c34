"""From cells to a table: the share of a search anew's accuracy that an operator from elsewhere keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from eos_platform.analysis.stats.bitpack import unpack
from eos_platform.analysis.transfer.places import AT
from eos_platform.analysis.transfer.plan import ANEW, UNREDUCED, WAYS
from eos_platform.costs.registry import COMPUTE

SAMPLES = 2000
COLUMNS = (
    "kind", "source", "place", "budget", "seeds", "accuracy", "anew", "unreduced", "kept", "low", "high",
    "compute_ratio", "seconds", "seconds_anew", "prompts", "prompts_anew", "cost", "share", "allowed", "predicted",
    "measured", "unreduced_measured",
)  # fmt: skip
FACTS = {
    "same_family": "the same family",
    "same_task": "the same task",
    "same_model": "the same model",
    "layers": "depth differs (log)",
    "tokens": "visual tokens differ (log)",
    "hidden": "width differs (log)",
    "anew": "accuracy of the search anew",
    "loss": "what reduction costs there anyway",
}


def table(records: Mapping[str, Mapping[str, Any]], seed: int = 0, places: Sequence[str] = ()) -> pd.DataFrame:
    """One row a way, source, place and budget, over its seeds.

    ``kept`` is the mean accuracy over that of the searches anew at the same place and budget; ``low`` and ``high`` its
    95 % interval: questions are resampled, the same for both. ``prompts`` are those run through the model to get there.
    ``cost`` is what budgets are about, ``share`` what of it is left as computed or predicted. Of a place with a cost of
    its own ``allowed``, ``predicted`` and ``measured`` are in the cost's unit; ``measured``, and
    ``unreduced_measured``, where the place's device was there.
    Rows are in the order of ``places``; others follow as they were measured.
    """
    measured = [one for one in records.values() if one["status"] == "measured"]
    whole = {one["place"]: float(one["accuracy"]) for one in measured if one["kind"] == UNREDUCED}
    took = {one["place"]: _mean([one.get("cost", {})], "measured") for one in measured if one["kind"] == UNREDUCED}
    groups: dict[tuple[str, str, str, float], list[Mapping[str, Any]]] = {}
    for one in measured:
        if one["kind"] != UNREDUCED:
            groups.setdefault((one["kind"], one["source"], one["place"], float(one["budget"])), []).append(one)
    rows = []
    for (kind, source, place, budget), some in groups.items():
        anew = groups.get((ANEW, place, place, budget), [])
        kept, low, high = share_kept(_scores(some), _scores(anew), seed)
        rows.append(
            (
                kind, source, place, budget, len(some), _mean(some, "accuracy"), _mean(anew, "accuracy"),
                whole.get(place, math.nan), kept, low, high, _mean(some, "compute_ratio"), _mean(some, "seconds"),
                _mean(anew, "seconds"), _mean(some, "prompts"), _mean(anew, "prompts"), *_costs(some),
                took.get(place, math.nan),
            )
        )  # fmt: skip
    order = {kind: number for number, kind in enumerate((ANEW, *WAYS))}
    named = {name: number for number, name in enumerate(places)}
    last = len(named)
    rows.sort(key=lambda row: (-row[3], order[row[0]], named.get(row[2], last), named.get(row[1], last)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _costs(records: Sequence[Mapping[str, Any]]) -> tuple[str, float, float, float, float]:
    """Of a place with a cost of its own: its name, share of the unreduced model's, allowed, predicted, measured."""
    costs = [one["cost"] for one in records if "cost" in one]
    if len(costs) < len(records):
        return COMPUTE, _mean(records, "compute_ratio"), math.nan, math.nan, math.nan
    share = float(np.mean([one["predicted"] / one["unreduced"] for one in costs]))
    return costs[0]["name"], share, _mean(costs, "budget"), _mean(costs, "predicted"), _mean(costs, "measured")


def _mean(records: Sequence[Mapping[str, Any]], name: str) -> float:
    """Over seeds; nan where it is not known of one, as cells of earlier versions have no prompts."""
    return float(np.mean([float(one.get(name, math.nan)) for one in records])) if records else math.nan


def _scores(records: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Mean score of each question over seeds (questions,)."""
    each = [np.asarray(unpack(one["scores"], one["questions"]), dtype=float) for one in records]
    return np.mean(each, axis=0) if each else np.zeros(0)


def share_kept(scores_q: NDArray[np.float64], anew_q: NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """Mean score over that of another operator on the same questions, and its 95 % interval (paired bootstrap)."""
    if not len(scores_q) or len(scores_q) != len(anew_q) or not anew_q.any():
        return math.nan, math.nan, math.nan
    rng, n = np.random.default_rng(seed), len(scores_q)
    outcomes_o2, counts_o = np.unique(np.stack([scores_q, anew_q], 1), axis=0, return_counts=True)
    drawn_so = rng.multinomial(n, counts_o / n, SAMPLES)
    sums_s2 = drawn_so @ outcomes_o2
    ratios_s = sums_s2[:, 0] / np.maximum(sums_s2[:, 1], 1e-12)
    low, high = np.quantile(ratios_s, [0.025, 0.975])
    return float(scores_q.sum() / anew_q.sum()), float(low), float(high)


def facts(records: Mapping[str, Mapping[str, Any]], rows: pd.DataFrame) -> pd.DataFrame:
    """What is known of each transferred row beforehand, by the names of ``FACTS``."""
    about: dict[str, Mapping[str, Any]] = {}
    for one in records.values():
        if one["status"] == "measured" and one["kind"] in (UNREDUCED, ANEW):
            about[one["place"]] = one["about"]
    known = rows[rows["source"].isin(list(about)) & (rows["kind"] != ANEW)]
    found = []
    for row in known.to_dict("records"):
        old, new = about[row["source"]], about[row["place"]]
        found.append(
            {
                "same_family": float(old["family"] == new["family"]),
                "same_task": float(old["task"] == new["task"]),
                "same_model": float(row["source"].partition(AT)[0] == row["place"].partition(AT)[0]),
                **{name: abs(math.log(new[name] / old[name])) for name in ("layers", "tokens", "hidden")},
                "anew": row["anew"],
                "loss": row["unreduced"] - row["anew"],
            }
        )
    return pd.DataFrame(found, index=known.index, columns=list(FACTS))


def predictors(records: Mapping[str, Mapping[str, Any]], rows: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of each fact with the share kept, by way: ``way``, ``fact``, ``rho``, ``p``, ``cells``."""
    found = []
    known = facts(records, rows)
    for kind in dict.fromkeys(rows.loc[known.index, "kind"]):
        here = known.index[rows.loc[known.index, "kind"] == kind]
        for name, words in FACTS.items():
            pairs = pd.DataFrame({"fact": known.loc[here, name], "kept": rows.loc[here, "kept"]}).dropna()
            if len(pairs) >= 4 and pairs["fact"].nunique() > 1 and pairs["kept"].nunique() > 1:
                rho, p = spearmanr(pairs["fact"], pairs["kept"])
                found.append((kind, words, float(rho), float(p), len(pairs)))
    return pd.DataFrame(found, columns=["way", "fact", "rho", "p", "cells"])
