"""``eos explain``: an operator file looked into: words, a picture, ablations; and a folder with all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eos_platform.cli.options import AllowBad, Data, Missing, Options, Task, Trust, report_bad_rows, task_of
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.common.printable import NAME

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from rich.console import Console
    from rich.table import Table

    from eos_platform.analysis.explain.explain import Explanation
    from eos_platform.analysis.explain.progress import Advance
    from eos_platform.operators.spec import OperatorSpec

REPORT, TABLE, DATA, PAGE = "explain.md", "explain.csv", "explain.json", "explain.html"
BAR = 40  # characters of all tokens


def explain(
    operator: Annotated[Path, typer.Argument(help="An operator file, or models:/NAME@ALIAS in MLflow's registry.")],
    model: Annotated[
        str | None,
        typer.Option(help="A bundled model or a model folder; default: the one the operator names, else bundled."),
    ] = None,
    task: Task = None,
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    questions: Annotated[int, typer.Option(min=1, help="Validation questions used for each ablation.")] = 1024,
    pictures: Annotated[
        int, typer.Option(min=0, help="Number of example pictures on which to show the kept tokens.")
    ] = 3,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for explain.md, .csv, .json and .html.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Explain what an operator does, which hand-designed one it resembles, and how much each parameter contributes.

    Example: [bold]eos explain operator.json --questions 1024 --out explained[/bold]
    """
    from eos_platform.analysis.explain.explain import explain as look
    from eos_platform.analysis.explain.explain import model_of
    from eos_platform.models.runtime.operator_source import operator_from

    spec = operator_from(operator)
    name = model or model_of(spec)
    chosen = task_of(task, data, allow_bad, name, options)
    files = (REPORT, TABLE, DATA, PAGE)
    if out is not None:
        for file in files:
            check_writable(out / file)
    from eos_platform.tasks import load_workload
    from eos_platform.terminal.data_bar import data_bar

    with data_bar(terminal.console()):
        workload = load_workload(name, chosen, device, trust_remote_code=trust_remote_code, allow_missing=allow_missing)
    report_bad_rows(workload)
    with _bar() as advance:
        explanation = look(workload, spec, questions=questions, pictures=pictures, advance=advance)
    console = terminal.console()
    _show(console, explanation)
    if out is not None:
        for file, text in zip(files, _texts(explanation), strict=True):
            write_atomic(out / file, text)
            terminal.stored()
            console.print(f"wrote {out / file}", soft_wrap=True)


def _texts(explanation: Explanation) -> tuple[str, str, str, str]:
    from eos_platform.analysis.explain.report import markdown

    data = strict_json.dumps(explanation.to_dict(), indent=2) + "\n"
    return markdown(explanation), explanation.ablations.to_csv(index=False), data, _page(explanation)


def _show(console: Console, explanation: Explanation) -> None:
    from eos_platform.analysis.explain.report import ranking_line, site_head, summary_lines

    def say(text: str = "", **style: Any) -> None:
        console.print(text, **style)

    name = terminal.printable(explanation.operator.name, NAME)
    say(f"{name}: {explanation.operator.regime}, on {terminal.printable(explanation.model)}", style="bold")
    for line in summary_lines(explanation):
        say(f"- {line}")
    for site in explanation.sites:
        say(f"\nsite {site['site']}, {site_head(site)}", style="bold")
        for line in (*site["words"], ranking_line(site)):
            if line:
                say(f"- {line}")
    say("\nvisual tokens entering each layer", style="bold")
    for line in staircase(explanation.operator):
        console.print(line, soft_wrap=True)
    if len(explanation.ablations):
        say("\neffect of each parameter: one changed at a time, largest loss first", style="bold")
        console.print(ablations_table(explanation.ablations))
        if not explanation.ablations["matched"].all():
            say("compute ratios in brackets differ from the operator's: these rows are not matched")


def staircase(operator: OperatorSpec) -> list[str]:
    """A bar a layer that tokens change before, and one for those in between; tower blocks first."""
    tower = [("picture", operator.arriving)] if operator.image else []
    tower += [(f"tower {site.layer}", site.keep) for site in operator.tower_sites]
    counts = operator.counts
    starts = [layer for layer in range(len(counts)) if layer == 0 or counts[layer] != counts[layer - 1]]
    rows = list(tower)
    for start, stop in zip(starts, [*starts[1:], len(counts)], strict=True):
        rows.append((f"layer {start}" if stop == start + 1 else f"layers {start}-{stop - 1}", counts[start]))
    wide = max(len(label) for label, _ in rows)
    digits = len(str(operator.target.tokens))
    return [f"{label:<{wide}}  {count:>{digits}}  {_blocks(count / operator.target.tokens)}" for label, count in rows]


def _blocks(share: float) -> str:
    """A bar to an eighth of a character, dots for what is gone; never nothing where there is something."""
    full, part = divmod(round(8 * BAR * share) or int(share > 0), 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[part].strip()).ljust(BAR, "·")


def ablations_table(ablations: pd.DataFrame) -> Table:
    """The ablations for a terminal; those whose interval leaves out zero in bold."""
    from eos_platform.analysis.explain.report import cells
    from eos_platform.terminal.tables import plain_table

    table = plain_table(left=("changed", "where", "was"), right=("accuracy", "change", "95 %", "ratio"))
    for row in ablations.to_dict("records"):
        sure = row["high"] < 0 or row["low"] > 0
        table.add_row(*cells(row), style="bold" if sure else "")
    return table


def _page(explanation: Explanation) -> str:
    import pandas as pd

    from eos_platform.analysis.explain.report import ranking_line, site_head, summary_lines
    from eos_platform.dashboards.explain import ablation_figure, staircase_figure
    from eos_platform.dashboards.kept_tokens import kept_figure
    from eos_platform.dashboards.page import page

    shown = [
        (explanation.operator.name, explanation.operator),
        *((near.design, near.operator) for near in explanation.nearest[:3]),
    ]
    layers = pd.DataFrame(
        [
            {"operator": label, "layer": layer, "tokens": tokens}
            for label, spec in shown
            for layer, tokens in enumerate(spec.counts)
        ]
    )
    note = f"one changed at a time, {explanation.questions:,} validation questions; hollow: at another compute ratio"
    of = f"of {explanation.operator.target.tokens}"
    of += "; dotted: the nearest hand-designed operators at this compute" if explanation.nearest else ""
    figures = [ablation_figure(explanation.ablations, subtitle=note)] if len(explanation.ablations) else []
    figures.append(staircase_figure(layers, subtitle=of))
    if explanation.examples and any(explanation.kept):
        rows = [
            {
                "column": _column(site),
                "ratio": round(explanation.compute_ratio, 3),
                "picture": picture,
                "origin": site["origin"],
                "size": site["size"],
                "caption": f"{len(site['origin'])} tokens",
            }
            for picture, sites in enumerate(explanation.kept)
            for site in _apart(sites)
        ]
        figures.append(kept_figure(pd.DataFrame(rows), explanation.examples, "Tokens kept after each site"))
    if explanation.asked:
        figures.append(_asked(explanation))
    lines = summary_lines(explanation)
    for site in explanation.sites:
        sentences = [*site["words"], ranking_line(site)]
        lines.append(f"site {site['site']}, {site_head(site)}: {'; '.join(line for line in sentences if line)}")
    lead = "\n".join(f"{line[:1].upper()}{line[1:]}." for line in lines)
    return page(
        f"{terminal.printable(explanation.operator.name, NAME)}: {explanation.operator.regime}, on {explanation.model}",
        lead,
        figures,
    )


def _asked(explanation: Explanation) -> Figure:
    """What is kept of one picture for several questions."""
    import pandas as pd

    from eos_platform.analysis.comparison.overlays import verdict
    from eos_platform.dashboards.kept_tokens import kept_figure

    rows = [
        {
            "column": _two_lines(question["text"].rstrip("?")),
            "ratio": round(explanation.compute_ratio, 3),
            "picture": 0,
            "origin": sites[-1]["origin"],
            "size": sites[-1]["size"],
            "caption": f"{question['answer']}: {verdict(question['right'])}",
        }
        for question, sites in zip(explanation.asked, explanation.kept_asked, strict=True)
    ]
    left = f"{len(explanation.kept_asked[0][-1]['origin'])} of {explanation.operator.target.tokens} tokens kept"
    picture = {**explanation.asked[0], "text": f"the same picture, {len(rows)} questions", "answer": left}
    return kept_figure(pd.DataFrame(rows), [picture], "The question decides which tokens are kept")


def _two_lines(text: str) -> str:
    """Over a column: cut where the longer line is shortest (headings break at ``, ``)."""
    words = text.replace(",", "").split()
    cuts = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    return ", ".join(min(cuts, key=lambda lines: max(map(len, lines)))) if cuts else text


def _apart(sites: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One of several sites at the same place: the last, after which the others no longer show."""
    return list({_column(site): site for site in sites}.values())


def _column(site: dict[str, Any]) -> str:
    return "after the tower" if site["place"] == "tower" else f"before layer {site['layer']}"


@contextmanager
def _bar() -> Iterator[Advance]:
    """Progress on stderr: a bar in a terminal, else a line now and then."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from eos_platform.terminal.lines import Lines

    console = terminal.console(stderr=True)
    if not terminal.draws(console):
        lines = Lines(console)
        yield lambda done, total, what: lines.tell("per cent done", 100 * done // total, 100, what)
        return
    columns = (TextColumn("answering"), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
