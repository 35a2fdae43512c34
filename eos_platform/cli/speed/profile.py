"""``eos profile``: what a device takes for a model, measured once, for searches anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.cli.bench import numbers, words
from eos_platform.cli.options import Missing, Trust
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, brief
from eos_platform.common.files import check_writable

PART = ".part"


def profile(
    out: Annotated[Path, typer.Option("--out", "-o", help="Path of the profile to write.")] = Path("device.json"),
    model: Annotated[str | None, typer.Option(help="A bundled model or a model folder.")] = None,
    shape: Annotated[
        str | None,
        typer.Option(help="Profile a full-size model with random weights instead; --shape list names them."),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Batch sizes, separated by commas; default 1.")] = None,
    modes: Annotated[
        str | None,
        typer.Option(
            help="Modes to measure, separated by commas: eager, captured (a CUDA graph), compiled (a graph "
            "with fused sites). Default: eager; on a GPU also captured."
        ),
    ] = None,
    text: Annotated[int, typer.Option(min=2, max=100_000, help="Number of non-visual tokens in the prompt.")] = 60,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="How many times all points are measured; default 3 on a GPU, else 5."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Measure how long this device takes to run a model, for searches with a budget in milliseconds.

    At most 50 points are measured: prefills of several lengths, operators, decoding, image encoding. Some operators
    are held out, and the table at the end shows the prediction error on them. An interrupted profile resumes when
    the command is run again.

    Example: [bold]eos profile --model bundled --out laptop.json[/bold], then
    [bold]eos search --model bundled --cost prefill_ms --budget 12ms --device-profile laptop.json[/bold]
    """
    from eos_platform.bench.shapes import SHAPES, load
    from eos_platform.costs.device.profile import MODES
    from eos_platform.models.loading.devices import find_device

    if shape == "list":
        for name, known in SHAPES.items():
            terminal.say(f"{name:16} {known.about}")
        return
    where = find_device(device)
    wanted = words(modes, "--modes") if modes else ("eager", "captured") if where.type == "cuda" else ("eager",)
    for mode in wanted:
        if mode not in MODES:
            raise EosError(f"--modes {brief(mode)}: one of {', '.join(MODES)}")
        if mode != "eager" and where.type != "cuda":
            raise EosError(f"--modes {mode}: CUDA graphs are of GPUs; the model runs on {where.type}")
    batches = [int(number) for number in numbers(batch or "1", "--batch")]
    check_writable(out)
    name, loaded, grid = load(
        shape, model if model or shape else "bundled", where, trust_remote_code=trust_remote_code,
        allow_missing=allow_missing,
    )  # fmt: skip
    found = _measured(loaded, name, grid, text, wanted, batches, out, rounds)
    found.save(out)
    out.with_name(out.name + PART).unlink(missing_ok=True)
    terminal.stored()
    _tell(found, out, name)


def _measured(
    loaded: Any,
    name: str,
    grid: tuple[int, int],
    text: int,
    modes: Any,
    batches: list[int],
    out: Path,
    rounds: int | None,
) -> Any:
    """Measured, with a bar that says how long it will take."""
    from rich.progress import Progress

    from eos_platform.bench.profiling.measure import measured
    from eos_platform.bench.profiling.plan import plan
    from eos_platform.bench.work import Bench

    first = Bench.of(loaded, grid, 1, text)
    points = plan(first.target, first.x_bsd.shape[-1], text, modes, batches, first.encodes)
    part = out.with_name(out.name + PART)
    console = terminal.console()
    with Progress(*Progress.get_default_columns(), console=console, disable=not terminal.draws(console)) as progress:
        task = progress.add_task(f"{len(points)} points", total=None)

        def notify(done: int, of: int, what: str) -> None:
            progress.update(task, total=of, completed=done, description=what)

        return measured(loaded, name, grid, text, points, part, rounds=rounds, notify=notify)


def _tell(found: Any, out: Path, name: str) -> None:
    """How far off it is, and what to do with it."""
    from eos_platform.common.sizes import shown_seconds
    from eos_platform.costs.device.predictor import errors
    from eos_platform.terminal.tables import plain_table

    console = terminal.console()
    right = ("batch", "held out", "median error", "worst", "rank correlation")
    table = plain_table("predictions of operators held out", left=("mode",), right=right)
    for row in errors(found):
        rank = "" if row.rank is None else f"{row.rank:.3f}"
        table.add_row(
            row.mode, str(row.batch), str(row.operators), f"{row.median:.1%}", f"{row.worst:.1%}", rank
        )  # fmt: skip
    console.print(table)
    console.print(
        f"saved {out}: {found.machine}, {len(found.points)} points of {name} in {shown_seconds(found.seconds)}",
        soft_wrap=True,
    )
