"""``eos dashboard``: the live dashboard on this machine."""

from __future__ import annotations

import ctypes
import logging
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from eos_platform.common import console as terminal
from eos_platform.common.addresses import of_sqlite
from eos_platform.common.errors import EosError

# of <malloc.h>: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
ARENAS, LARGE, TRIM = -8, -3, -1


def dashboard(
    studies: Annotated[Path, typer.Option(help="Folder that holds the studies.")] = Path("eos-runs"),
    tracking: Annotated[
        str | None, typer.Option(metavar="URI", help="An MLflow tracking URI, instead of --studies.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0: any free one.")] = 8050,
    host: Annotated[
        str, typer.Option(help="Address to bind; 127.0.0.1: reachable from this machine only.")
    ] = "127.0.0.1",
    allowed: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-hosts",
            metavar="NAME",
            help="Another host name under which the page may be requested; may be repeated.",
        ),
    ] = None,
    interface: Annotated[
        str, typer.Option("--mlflow-ui", metavar="URL", help="Address of an MLflow UI, for links to runs.")
    ] = "http://127.0.0.1:5000",
) -> None:
    """Browse studies while they run: fronts, operators, comparisons, health.

    Example: [bold]eos dashboard --studies eos-runs[/bold]
    """
    names = [name for text in allowed or () for name in text.split(",") if name.strip()]
    app = make(tracking or of_sqlite(studies / "mlflow.db"), interface, host, names)
    port = free_port(host, port)
    terminal.say(f"dashboard at http://{host}:{port} (Ctrl-C stops it)")
    _thrifty()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request is no news
    from werkzeug.serving import make_server  # Flask's own, without its banner and its warning

    make_server(host, port, app.server, threaded=True).serve_forever()


def _thrifty() -> None:
    """Give memory back that is freed, where the C library can be told so (glibc).

    One heap for all threads: each heap would keep what was freed in it. (The threads share one lock then, which costs
    nothing here: Python lets one of them work at a time anyway.) Figures and pages, megabytes each, are mapped by
    themselves; by default the size that is mapped grows to 32 MB with use, and they would leave holes in the heap.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for option, value in ((ARENAS, 1), (LARGE, 256 * 1024), (TRIM, 512 * 1024)):
            library.mallopt(option, value)


def make(uri: str, interface: str, host: str = "127.0.0.1", allowed: Iterable[str] = ()) -> Any:
    """The application over the store at ``uri``.

    Args:
        host: where it is served; ``allowed``: further names it may be asked under.

    Raises:
        EosError: no Dash here, or no such store.
    """
    from eos_platform.dashboard_data.light_imports import light

    light("pandas")
    try:
        light("dash")
    except ImportError:
        raise EosError("the dashboard needs Dash: pip install 'eos-platform[dashboard]'") from None
    if urlsplit(interface).scheme not in ("http", "https"):
        raise EosError(f"--mlflow-ui {interface}: expected an address such as http://127.0.0.1:5000")
    from eos_platform.dashboard_data.studies import Studies
    from eos_platform.dashboards.app import make_app

    studies = Studies(uri, interface)
    studies.names()
    return make_app(studies, host=host, allowed=allowed)


def free_port(host: str, port: int) -> int:
    """``port``, or a free one for 0.

    Raises:
        EosError: it is taken, or the host is not this machine.
    """
    with socket.socket() as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ear.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            raise EosError(f"cannot listen at {host}:{port}: {reason}; try another --port (0: any)") from None
        return int(ear.getsockname()[1])
