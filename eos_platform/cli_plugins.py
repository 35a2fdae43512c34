"""``eos plugins``: what is installed of everything that other packages may add."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from eos_platform import terminal


def plugins(
    everything: Annotated[bool, typer.Option("--all", help="Also what is built in.")] = False,
) -> None:
    """List what other installed packages add, from where, and what is broken.

    A package adds model families, tasks, costs, designs and samplers by entry points in the groups
    eos_platform.families, .tasks, .costs, .designs and .samplers.

    Example: [bold]eos plugins --all[/bold]
    """
    from eos_platform.plugins import BUILT_IN
    from eos_platform.registries import registries

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("kind", "name", "from", "state"):
        table.add_column(heading, overflow="fold")
    broken = 0
    for registry in registries():
        for found in registry.found():
            if found.package == BUILT_IN and not everything:
                continue
            broken += bool(found.problem)
            origin = found.package + (f" ({found.value})" if found.value else "")
            state = Text.assemble(("broken", "red"), f": {found.problem}") if found.problem else "ok"
            table.add_row(found.kind, found.name, origin, state)
    if not table.row_count:
        terminal.say("no other installed package adds anything; eos plugins --all lists what is built in")
        return
    terminal.console().print(table)
    if broken:
        terminal.say(f"{broken} broken; the rest works without {'it' if broken == 1 else 'them'}")
