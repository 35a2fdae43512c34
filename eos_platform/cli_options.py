"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python that lies in the model's folder (its auto_map).")
]
Missing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Draw weights at random that the model's folder lacks; leave out others."),
]
