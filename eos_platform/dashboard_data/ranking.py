"""Ranks over the comparisons of a store or of several folders, for the list of studies, the report, the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import plotly.graph_objects as go

from eos_platform.analysis.ranking import CONTROLS, Block
from eos_platform.dashboards.ranks import ranks_figure

if TYPE_CHECKING:
    from eos_platform.analysis.stats.ranks import Ranking

NEAR, ROUNDING = 0.85, 1e-9
Scores = dict[Block, dict[str, float | None]]


def blocks_of_store(studies: Any) -> Scores:
    """Scores by method in each block (model, task, ratio), of the comparisons that a store holds; the latest of each.

    As ``blocks_of`` of folders: a searched method is the mean over its seeds, and operator files are left out.
    """
    blocks: Scores = {}
    seen: set[tuple[str, str]] = set()
    for study in studies.names():  # the latest first
        facts = studies.facts(study)
        where = str(facts["model"]), str(facts["task"])
        if facts["comparison"] and where not in seen:
            seen.add(where)
            blocks |= _compared(studies.operators(study), where)
    return blocks


def blocks_of_study(studies: Any, study: str) -> Scores:
    """The same of one comparison, or of a study's final comparison: a block is a compute ratio of the front.

    There a design's score is its best at no more than that ratio, and no less than 85 % of it.
    """
    facts, rows = studies.facts(study), studies.operators(study)
    where = str(facts["model"]), str(facts["task"])
    if facts["comparison"]:
        return _compared(rows, where)
    asked = rows[rows["measured_on"] == "held-out"]
    designs = asked[asked["family"] == "hand-designed"]
    blocks: Scores = {}
    for ratio, accuracy in asked.loc[asked["front"], ["compute_ratio", "accuracy"]].itertuples(index=False):
        near = designs[designs["compute_ratio"].between(NEAR * ratio, ratio + ROUNDING)]
        if len(near):
            best = near.groupby("design")["accuracy"].max()
            blocks[(*where, float(ratio))] = {
                "searched": float(accuracy),
                **{str(k): float(v) for k, v in best.items()},
            }
    return blocks


def _compared(rows: pd.DataFrame, where: tuple[str, str]) -> Scores:
    blocks: Scores = {}
    ratio = pd.to_numeric(rows.get("params.ratio", pd.Series(index=rows.index, dtype=float)), errors="coerce")
    methods = rows["design"].where(rows["design"].notna() & (rows["design"] != ""), "searched")
    methods += (rows["variant"] == "tuned").map({True: " tuned", False: ""})
    ranked = ratio.notna() & rows["accuracy"].notna() & (rows["family"] != "unreduced") & (rows["variant"] != "given")
    table = rows.assign(method=methods, ratio=ratio)[ranked]
    means = table.groupby(["ratio", "method"], as_index=False)["accuracy"].mean()
    for at, name, accuracy in means[["ratio", "method", "accuracy"]].itertuples(index=False):
        blocks.setdefault((*where, float(at)), {})[str(name)] = float(accuracy)
    return blocks


def ranking_of(blocks: Scores) -> Ranking | None:
    """The ranking where more than one model or task was compared; where one has no operator it is last."""
    return _ranked(blocks, "last") if len({block[:2] for block in blocks}) > 1 else None


def ranking_over_ratios(blocks: Scores) -> Ranking | None:
    """The ranking of one model where it was compared at more than one ratio, of the methods that are at all of them."""
    everywhere = set.intersection(*map(set, blocks.values())) if len(blocks) > 1 else set()
    return _ranked(blocks, "exclude") if len(everywhere) > 1 else None


def _ranked(blocks: Scores, missing: Literal["last", "exclude"]) -> Ranking:
    from eos_platform.analysis.stats.ranks import rank_methods  # SciPy: fifty megabytes that most stores do not need

    return rank_methods(blocks, missing)


def ranking_of_folders(folders: list[Path]) -> Ranking | None:
    """The same of results of ``eos compare``."""
    from eos_platform.analysis.ranking.comparisons import blocks_of  # reads operators, and so loads torch

    return ranking_of(blocks_of(folders))


def figure_of(ranking: Ranking, title: str = "Mean ranks") -> go.Figure:
    """Mean ranks with the critical difference."""
    rows = [(name, rank, ranking.wins[name], name in CONTROLS) for name, rank in ranking.mean_rank.items()]
    frame = pd.DataFrame(rows, columns=["method", "mean_rank", "wins", "control"])
    return ranks_figure(frame, ranking.cliques, ranking.critical_difference, ranking.blocks, title)


def table_of(ranking: Ranking) -> pd.DataFrame:
    """The same as a table."""
    lines = [
        (name, round(rank, 2), ranking.wins[name], ranking.partial.get(name, (ranking.blocks, 0))[0])
        for name, rank in ranking.mean_rank.items()
    ]
    return pd.DataFrame(lines, columns=["method", "mean rank", "best in", f"measured in (of {ranking.blocks})"])


def words_of(ranking: Ranking, level: float = 0.95, missing: str = "last") -> str:
    """What the ranking is over, and how far apart two methods must be."""
    over = f"{len(ranking.mean_rank)} methods in {ranking.blocks} comparisons (one model, task and compute ratio each)"
    if ranking.critical_difference != ranking.critical_difference:
        return over + "; two are needed for a test."
    apart = f"mean ranks less than {ranking.critical_difference:.2f} apart do not differ significantly"
    lacking = " A method without an operator at some ratio is ranked last there."
    last = lacking if ranking.partial and missing == "last" else ""
    return f"{over}; Friedman's test: p = {ranking.p_value:.2g}; {apart} (Nemenyi, {level:.3g}).{last}"


def words_over_ratios(ranking: Ranking) -> str:
    """The same of one model at several ratios."""
    left_out = f" Left out, as they are not at every ratio: {', '.join(ranking.partial)}." if ranking.partial else ""
    over = f"{len(ranking.mean_rank)} methods at {ranking.blocks} compute ratios of one model"
    apart = ""
    if ranking.critical_difference == ranking.critical_difference:
        apart = (
            f"; mean ranks less than {ranking.critical_difference:.2f} apart do not differ significantly (Nemenyi, .95)"
        )
    note = "The ratios are not independent, so differences count for less than this says."
    return f"{over}; Friedman's test: p = {ranking.p_value:.2g}{apart}. {note}{left_out}"


def lacking_words(ranking: Ranking, last: bool) -> Iterator[str]:
    """A line for each method that some comparison lacks."""
    for name, (count, relative) in ranking.partial.items():
        there = f"relative rank {relative:.2f} in the others (0: best, 1: last)"
        lacking = ranking.blocks - count
        what = f"ranked last in {lacking}" if last else f"not ranked: missing in {lacking}"
        yield f"{name}: {what} of {ranking.blocks} comparisons, {there}"
