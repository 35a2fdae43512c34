"""``eos ranks``: methods ranked over several comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic


def ranks(
    comparisons: Annotated[list[Path], typer.Argument(metavar="COMPARISON...", help="Folders that eos compare wrote.")],
    group: Annotated[str | None, typer.Option(help="Rank by this group of questions, such as detail.")] = None,
    missing: Annotated[
        str,
        typer.Option(
            metavar="last|exclude",
            help="What to do with a method that some comparison lacks (the model does not support it, or it cannot "
            "reach the ratio): rank it last there, or exclude it from the whole ranking.",
        ),
    ] = "last",
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of the critical difference.")
    ] = 0.95,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the figure to this HTML file.")] = None,
) -> None:
    """Mean ranks of designs and searches over models, tasks and ratios, with the critical difference.

    Each ratio of each folder counts as one comparison. Friedman's test says whether the methods differ at all,
    Nemenyi's critical difference which of them do; ties share their mean rank. Methods that some comparison lacks are
    listed below the table with their rank in the others.

    Example: [bold]eos ranks compare-qwen compare-gemma --group detail --out ranks.html[/bold]
    """
    from eos_platform.analysis.ranking.comparisons import blocks_of
    from eos_platform.analysis.stats.ranks import rank_methods
    from eos_platform.dashboard_data.ranking import figure_of, lacking_words, words_of
    from eos_platform.terminal.tables import ranks_table

    if missing not in ("exclude", "last"):
        raise EosError(f"--missing is exclude or last, not '{missing}'")
    if out is not None:
        check_writable(out)
    blocks = blocks_of(comparisons, group)
    ranking = rank_methods(blocks, "last" if missing == "last" else "exclude", level)
    console = terminal.console()
    console.print(ranks_table(ranking.mean_rank, ranking.wins, blocks))
    console.print(words_of(ranking, level, missing), soft_wrap=True, highlight=False)
    for line in lacking_words(ranking, missing == "last"):
        console.print(line, soft_wrap=True, highlight=False)
    if out is not None:
        from eos_platform.dashboards.page import alone

        write_atomic(out, alone(figure_of(ranking)))
        terminal.say(f"wrote {out}")
