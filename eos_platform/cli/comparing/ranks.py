"""``eos ranks``: methods ranked over several comparisons, since one table convinces nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic


def ranks(
    comparisons: Annotated[list[Path], typer.Argument(metavar="COMPARISON...", help="Folders of eos compare.")],
    group: Annotated[str | None, typer.Option(help="Rank by this group of questions, such as detail.")] = None,
    missing: Annotated[
        str,
        typer.Option(
            metavar="last|exclude",
            help="A method without a form in some comparison (a model refuses it, or it cannot go that low): last "
            "there, since nobody could use it; or left out of the ranking everywhere.",
        ),
    ] = "last",
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of the critical difference.")
    ] = 0.95,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the figure here, as HTML.")] = None,
) -> None:
    """Mean ranks of designs and searches over models, tasks and ratios, with the critical difference.

    Every folder's ratios are comparisons of their own. Friedman's test says whether any differ, Nemenyi's critical
    difference which do; ties share their ranks. A method that has no form in a comparison shares the last rank there
    and is named below the table with its rank where it has one: mean ranks then speak of use, not of accuracy alone.

    Example: [bold]eos ranks compare-qwen compare-gemma --group detail --out ranks.html[/bold]
    """
    from eos_platform.analysis.ranking.comparisons import blocks_of
    from eos_platform.analysis.stats.ranks import rank_methods
    from eos_platform.dashboard_data.ranking import figure_of, lacking_words
    from eos_platform.terminal.tables import ranks_table

    if missing not in ("exclude", "last"):
        raise EosError(f"--missing is exclude or last, not '{missing}'")
    if out is not None:
        check_writable(out)
    blocks = blocks_of(comparisons, group)
    ranking = rank_methods(blocks, "last" if missing == "last" else "exclude", level)
    console = terminal.console()
    console.print(ranks_table(ranking.mean_rank, ranking.wins, blocks))
    console.print(
        f"{ranking.blocks} comparisons of {len(ranking.mean_rank)} methods: Friedman p {ranking.p_value:.2g};"
        f" mean ranks less than {ranking.critical_difference:.2f} apart are not told apart (Nemenyi, {level:g})",
        soft_wrap=True,
        highlight=False,
    )
    for line in lacking_words(ranking, missing == "last"):
        console.print(line, soft_wrap=True, highlight=False)
    if out is not None:
        from eos_platform.dashboards.page import alone

        write_atomic(out, alone(figure_of(ranking)))
        terminal.say(f"wrote {out}")
