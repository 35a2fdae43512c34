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
            metavar="exclude|last",
            help="A method that lacks a score in some comparison is left out, or ranked last there.",
        ),
    ] = "exclude",
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of the critical difference.")
    ] = 0.95,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the figure here, as HTML.")] = None,
) -> None:
    """Mean ranks of designs and searches over models, tasks and ratios, with the critical difference.

    Every folder's ratios are comparisons of their own. Friedman's test says whether any differ, Nemenyi's critical
    difference which do; ties share their ranks.

    Example: [bold]eos ranks compare-qwen compare-gemma --group detail --out ranks.html[/bold]
    """
    from eos_platform.analysis.ranking.comparisons import CONTROLS, blocks_of
    from eos_platform.analysis.stats.ranks import rank_methods
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
    for name, (count, relative) in ranking.partial.items():
        console.print(f"{name}: in {count} comparisons only, relative rank {relative:.2f} there (0 best, 1 last)")
    if out is not None:
        import pandas as pd

        from eos_platform.dashboards.palette import CONFIG
        from eos_platform.dashboards.ranks import ranks_figure

        rows = [(name, rank, ranking.wins[name], name in CONTROLS) for name, rank in ranking.mean_rank.items()]
        frame = pd.DataFrame(rows, columns=["method", "mean_rank", "wins", "control"])
        figure = ranks_figure(frame, ranking.cliques, ranking.critical_difference, ranking.blocks)
        write_atomic(out, figure.to_html(include_plotlyjs=True, config=CONFIG))
        terminal.say(f"wrote {out}")
