"""Operators, designs, evaluations and studies as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from rich.table import Table
from rich.text import Text

from eos_platform.common.printable import NAME, printable
from eos_platform.objectives import COSTS, DEFAULT
from eos_platform.operators.spec import FEATURES, OperatorSpec, SiteSpec
from eos_platform.protocols import Objective

if TYPE_CHECKING:
    from eos_platform.operators.designs import Design


class StudyStatus(Protocol):
    """What a table of a study's trials is made of (``engine.status.Status``)."""

    @property
    def trials(self) -> Any: ...
    @property
    def varied(self) -> tuple[str, ...]: ...
    @property
    def axes(self) -> tuple[Objective, ...]: ...
    @property
    def front_on(self) -> str: ...


LONGEST = 300  # characters of a cell, such as a study's description


class PlainTable(Table):
    """A table whose cells are shown as they are: a name such as ``[red]`` is no markup, nor a line end a new line."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """As ``Table.add_row``."""
        shown = (Text(printable(cell, LONGEST)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, **options)


def plain_table(title: str = "", right: Iterable[str] = (), left: Iterable[str] = (), gap: int = 2) -> Table:
    """A table without lines; ``left`` columns first."""
    shown = Text(printable(title, LONGEST), "table.title") if title else None
    table = PlainTable(title=shown, title_justify="left", box=None, padding=(0, gap, 0, 0), pad_edge=False)
    for column in left:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table


def operator_table(operator: OperatorSpec) -> Table:
    """One line a site: where, how many tokens stay, by which weights of the features, and how the others are merged."""
    name = printable(operator.name, NAME)
    table = plain_table(f"{name}: {operator.regime}, {operator.mean_tokens:.1f} mean visual tokens", gap=1)
    rho = ("rho",) if any(site.rho for site in operator.sites) else ()
    selectors = [selector(site) for site in operator.sites]
    used = [place for place in range(len(_HEADS)) if any(cells[place] for cells in selectors)]  # no empty columns
    heads = [_HEADS[place] for place in used]
    left = ("tokens\nin -> kept", "regime", _HEADS[0])
    for column in ("layer", "tokens\nin -> kept", "regime", *heads, "gamma", "tau", "nu", *rho, "beta"):
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    if operator.image:
        table.add_row("picture", f"{operator.target.tokens} -> {operator.arriving}", "pool")
    for site, incoming, cells in zip(operator.sites, operator.incoming, selectors, strict=True):
        transfer = site.transfer
        table.add_row(
            f"tower {site.layer}" if site.place == "tower" else str(site.layer),
            f"{incoming} -> {site.keep}",
            site.regime(incoming),
            *(cells[place] for place in used),
            f"{transfer.gamma:.2f}",
            "inf" if math.isinf(transfer.tau) else f"{transfer.tau:.2g}",
            f"{transfer.nu:.2f}",
            *([f"{site.rho:.2f}"] if rho else []),
            f"{site.beta:.2f}",
        )
    if not operator.sites and not operator.image:
        table.add_row("", str(operator.target.tokens), "identity")
    return table


# a rule, and FEATURES, in 80 columns
_HEADS = ("selector", "last\ntext", "mean\ntext", "vis-\nion", "norm", "uni-\nque")


def selector(site: SiteSpec) -> list[str]:
    """The name of a rule that ignores the features, or of the feature a design adds; the features' weights."""
    added = [name for name, weight in site.score.items() if weight and name not in FEATURES]
    if site.selector != "score" or added:
        name = "+".join(added) if site.selector == "score" else site.selector
        return [f"{site.important} + {name}" if site.important else name, *[""] * len(FEATURES)]
    return ["", *(f"{site.score[name]:.2f}" if round(site.score.get(name, 0.0), 2) else "" for name in FEATURES)]


def designs_table(designs: Mapping[str, Design]) -> Table:
    """The hand-designed operators."""
    table = plain_table(left=("design", "regime", "source", "what it does"))
    for name, design in designs.items():
        table.add_row(name, design.regime, design.source, design.summary)
    return table


def ranks_table(
    mean_rank: Mapping[str, float], wins: Mapping[str, int], blocks: Mapping[Any, Mapping[str, float | None]]
) -> Table:
    """Methods by mean rank, with what they score on average."""
    table = plain_table(left=("method",), right=("mean rank", "best in", "mean score"))
    for name, rank in mean_rank.items():
        scores = [score for block in blocks.values() if (score := block.get(name)) is not None]
        table.add_row(name, f"{rank:.2f}", str(wins[name]), f"{sum(scores) / len(scores):.1%}")
    return table


def skills_table(per_skill: Mapping[str, float], unreduced: Mapping[str, float] | None = None) -> Table:
    """Accuracy by kind of question; ``unreduced``: that of the unreduced model, beside it."""
    table = plain_table(left=("skill",), right=("accuracy", *(() if unreduced is None else ("unreduced",))))
    for skill, accuracy in sorted(per_skill.items()):
        table.add_row(skill, f"{accuracy:.1%}", *([] if unreduced is None else [f"{unreduced[skill]:.1%}"]))
    return table


def status_table(status: StudyStatus) -> Table:
    """One line a trial; those on the front in bold."""
    shown = {one.metric: one for one in (*DEFAULT, COSTS["mean_tokens"], *status.axes)}
    heldout = ["heldout"] if "heldout" in status.trials else []
    table = plain_table(left=("trial", "state"), gap=1 if heldout else 2)  # 80 columns hold it
    names = [one.label for one in shown.values()] + ["held-\nout" for _ in heldout]
    for column in (*status.varied, *names, f"front {status.front_on.replace('-', '-' + chr(10))}"):
        table.add_column(column.replace("_", "\n").replace(" ", "\n").replace("/", "/\n"), justify="right")
    for trial in status.trials.to_dict("records"):
        numbers = ["" if _missing(trial[name]) else one.show(trial[name]) for name, one in shown.items()]
        table.add_row(
            str(trial["trial"]),
            trial["state"],
            *(_short(trial[name]) for name in status.varied),
            *numbers,
            *("" if _missing(trial[name]) else f"{trial[name]:.1%}" for name in heldout),
            "yes" if trial["front"] else "",
            style="bold" if trial["front"] else "",
        )
    return table


_SAID = {"stopped": "was stopped early", "violated": "is infeasible", "warm_start": "has the settings of"}


def status_remarks(status: StudyStatus) -> list[str]:
    """A line for every trial that failed, and every one that runs another again."""
    remarks = []
    for trial in status.trials.to_dict("records"):
        if not _missing(trial["retry_of"]):
            remarks.append(f"trial {trial['trial']} runs trial {trial['retry_of']} again")
        if trial["state"] == "failed":
            remarks.append(f"trial {trial['trial']} failed: {printable(trial['failure'], LONGEST)}")
        for name, remark in _SAID.items():
            if name in trial and not _missing(trial[name]):
                remarks.append(f"trial {trial['trial']} {remark}: {trial[name]}")
    return remarks


def _missing(value: Any) -> bool:
    return value is None or value != value or str(value) == "<NA>"


def _short(value: Any) -> str:
    if _missing(value):
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # budgets of costs with a unit may be large
