"""Ranks over the comparisons of a store or of several folders, for the list of studies, the report, the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from eos_platform.analysis.ranking import CONTROLS, Block
from eos_platform.dashboards.ranks import ranks_figure

if TYPE_CHECKING:
    from eos_platform.analysis.stats.ranks import Ranking

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
        if not facts["comparison"] or where in seen:
            continue
        seen.add(where)
        rows = studies.operators(study)
        ratio = pd.to_numeric(rows.get("params.ratio", pd.Series(index=rows.index, dtype=float)), errors="coerce")
        methods = rows["design"].where(rows["design"].notna() & (rows["design"] != ""), "searched")
        methods += (rows["variant"] == "tuned").map({True: " tuned", False: ""})
        ranked = (
            ratio.notna() & rows["accuracy"].notna() & (rows["family"] != "unreduced") & (rows["variant"] != "given")
        )
        table = rows.assign(method=methods, ratio=ratio)[ranked]
        for (at, name), accuracy in table.groupby(["ratio", "method"])["accuracy"].mean().items():
            blocks.setdefault((*where, float(at)), {})[str(name)] = float(accuracy)
    return blocks


def ranking_of(blocks: Scores) -> Ranking | None:
    """The ranking where more than one model or task was compared; what has no form somewhere is last there."""
    if len({block[:2] for block in blocks}) < 2:
        return None
    from eos_platform.analysis.stats.ranks import rank_methods  # SciPy: fifty megabytes that most stores do not need

    return rank_methods(blocks, "last")


def ranking_of_folders(folders: list[Path]) -> Ranking | None:
    """The same of results of ``eos compare``."""
    from eos_platform.analysis.ranking.comparisons import blocks_of  # reads operators, and so loads torch

    return ranking_of(blocks_of(folders))


def figure_of(ranking: Ranking) -> go.Figure:
    """Mean ranks with the critical difference."""
    rows = [(name, rank, ranking.wins[name], name in CONTROLS) for name, rank in ranking.mean_rank.items()]
    frame = pd.DataFrame(rows, columns=["method", "mean_rank", "wins", "control"])
    return ranks_figure(frame, ranking.cliques, ranking.critical_difference, ranking.blocks)


def table_of(ranking: Ranking) -> pd.DataFrame:
    """The same as a table."""
    lines = [
        (name, round(rank, 2), ranking.wins[name], ranking.partial.get(name, (ranking.blocks, 0))[0])
        for name, rank in ranking.mean_rank.items()
    ]
    return pd.DataFrame(lines, columns=["method", "mean rank", "best in", f"has a form in (of {ranking.blocks})"])


def words_of(ranking: Ranking) -> str:
    """What the ranking is over, and how far two must be apart."""
    models = f"{ranking.blocks} comparisons (a model, a task, a compute ratio each) of {len(ranking.mean_rank)} methods"
    if ranking.critical_difference != ranking.critical_difference:
        return models
    apart = f"mean ranks less than {ranking.critical_difference:.2f} apart are not told apart (Nemenyi, 95 %)"
    return f"{models}: Friedman p {ranking.p_value:.2g}; {apart}. What has no form in a comparison is last there."


def lacking_words(ranking: Ranking, last: bool) -> Iterator[str]:
    """A line for each method that has no form in some comparison."""
    for name, (count, relative) in ranking.partial.items():
        there = f"relative rank {relative:.2f} where it has one (0 best, 1 last)"
        lacking = ranking.blocks - count
        what = f"ranked last in {lacking}" if last else "not ranked: no form in " + str(lacking)
        yield f"{name}: {what} of {ranking.blocks} comparisons, {there}"
