"""``eos cluster``: what every node is started with, and whether the nodes of a cluster can run studies."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError

cluster_app = typer.Typer(
    no_args_is_help=True,
    help="Ray clusters: start nodes and check them.\n\nExample: [bold]eos cluster check --address auto[/bold]",
)


@cluster_app.command("env")
def cluster_env(
    export: Annotated[
        bool, typer.Option(help="Print shell export lines (--export) or lines of an env file (--no-export).")
    ] = True,
) -> None:
    """Print the environment variables that every node must be started with (token, detection of dead nodes in 10 s).

    Example: [bold]eval "$(eos cluster env)" && ray start --head[/bold]
    """
    from eos_platform.engine.cluster.ray_session import NODE_ENVIRONMENT

    for name, value in NODE_ENVIRONMENT.items():
        terminal.say(f"export {name}={shlex.quote(value)}" if export else f"{name}={value}")


@cluster_app.command("check")
def cluster_check(
    address: Annotated[str, typer.Option(help="The Ray cluster, such as auto or ray-head:6379.")] = "auto",
    storage: Annotated[str, typer.Option(help="A folder or URL that every node must reach.")] = "",
    ship: Annotated[bool, typer.Option("--ship-code", help="Send this package to nodes that lack it.")] = False,
) -> None:
    """Check the versions, code and storage of every node. Exit code 2 when one cannot run studies.

    Example: [bold]eos cluster check --address auto --storage s3://bucket/runs[/bold]
    """
    from eos_platform.engine.cluster.preflight import examine
    from eos_platform.engine.cluster.ray_session import ray_session, token_wanted
    from eos_platform.engine.store.checkpoint_storage import check
    from eos_platform.terminal.tables import plain_table

    check(storage)
    with ray_session(address, ship):
        nodes = examine(storage, token=token_wanted())
    table = plain_table(left=("node", "package"), right=("CPUs", "GPUs", "memory", "Python", "ray", "torch"))
    for node in nodes:
        memory = f"{node.resources.get('memory', 0.0) / 2**30:.1f} GiB"
        counts = (f"{node.resources.get(name, 0.0):g}" for name in ("CPU", "GPU"))
        versions = (node.facts.get(name, "") for name in ("package", "python", "ray", "torch"))
        package, *others = versions
        table.add_row(node.address, package, *counts, memory, *others)
    console = terminal.console()
    console.print(table)
    unfit = [node for node in nodes if node.wrong]
    for node in unfit:
        for wrong in node.wrong:
            console.print(f"node {node.address} {wrong}", style="yellow", soft_wrap=True)
    if unfit:
        raise EosError(f"{len(unfit)} of {len(nodes)} nodes cannot run studies")
    console.print(f"all {len(nodes)} nodes can run studies")
