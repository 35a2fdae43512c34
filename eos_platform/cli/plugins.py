"""``eos plugins``: what is installed of everything that other packages may add."""

from __future__ import annotations

from typing import Annotated

import typer

from eos_platform.common import console as terminal
from eos_platform.common.printable import NAME


def plugins(
    everything: Annotated[bool, typer.Option("--all", help="Also list the built-in ones.")] = False,
) -> None:
    """List the extensions that installed packages provide, where they come from, and which are broken.

    A package provides model families, tasks, metrics, costs, designs and samplers through entry points in the groups
    eos_platform.families, .tasks, .metrics, .costs, .designs and .samplers.

    Example: [bold]eos plugins --all[/bold]
    """
    from rich.table import Table
    from rich.text import Text

    from eos_platform.plugins import BUILT_IN, strangers
    from eos_platform.registries import registries

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("kind", "name", "from", "at", "state"):
        table.add_column(heading, overflow="fold")
    broken = []
    for plugin in [one for registry in registries() for one in registry.found()] + strangers(registries()):
        if plugin.package == BUILT_IN and not everything:
            continue
        if plugin.problem:
            broken.append(f"{plugin.kind} '{plugin.name}' of {plugin.package}: {plugin.problem}")
        state = Text("broken", "red") if plugin.problem else "ok"
        table.add_row(
            *(terminal.printable(one, NAME) for one in (plugin.kind, plugin.name, plugin.package, plugin.value)), state
        )
    if not table.row_count:
        terminal.say("no installed package provides extensions; eos plugins --all lists the built-in ones")
        return
    console = terminal.console()
    if not console.is_terminal:  # a file or a pipe has no edge to wrap at
        console.width = max(console.width, console.measure(table, options=console.options.update(width=WIDE)).maximum)
    console.print(table)
    for line in broken:
        terminal.say(line)
    if broken:
        terminal.say(f"{len(broken)} broken; the others are not affected")


WIDE = 1000  # columns that no table needs
