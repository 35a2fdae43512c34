"""``eos bench``: how fast operators really are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.cli.options import Missing, Trust
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, brief
from eos_platform.common.files import check_writable, write_atomic

ROWS, TABLE, PAGE, LOADS = "bench.jsonl", "bench.csv", "bench.html", "load.jsonl"
MOST = 1_000_000  # tokens, or prompts at once


def bench(
    operators: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OPERATOR]...", help="Operator files, models:/NAME@ALIAS, designs, or searched-like (the default)."
        ),
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="A full-size model with random weights; --shape list names them.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A bundled model or a model folder, instead of --shape.")] = None,
    tokens: Annotated[
        str, typer.Option(help="Mean visual tokens of the designs, separated by commas.")
    ] = "192,128,64,29",
    batch: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1,16",
    text: Annotated[int, typer.Option(min=2, help="Number of non-visual tokens in the prompt.")] = 60,
    modes: Annotated[
        str,
        typer.Option(help="Modes to time: eager, captured (a CUDA graph), compiled (a graph with fused sites)."),
    ] = "eager,captured",
    new: Annotated[int, typer.Option(min=1, help="Tokens generated per answer, for answers per second.")] = 64,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Number of interleaved repetitions; default 20, with --serve 3.")
    ] = None,
    decode: Annotated[bool, typer.Option(help="Also time decoding.")] = True,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Instead of timing prefills, send requests to an engine (vLLM, in this process)."),
    ] = False,
    at_once: Annotated[
        str, typer.Option(help="With --serve: numbers of concurrent requests, separated by commas.")
    ] = "1,8,32",
    requests: Annotated[int, typer.Option(min=2, help="With --serve: requests per run.")] = 64,
    out: Annotated[Path, typer.Option(help="Folder for the results, a CSV file and an HTML page.")] = Path("eos-bench"),
    mlflow: Annotated[str, typer.Option(metavar="URI|none", help="MLflow tracking URI to log the table to.")] = "none",
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Time prefill and decoding with operators, next to the unreduced model and a lower bound.

    The lower bound is the same model on an input with only that many tokens in each layer; the time above it is the
    operator's own cost.

    With --serve, load-test an engine instead: requests per second, time to first token, time between tokens and KV
    cache use, with and without repeated pictures, next to the unreduced model.

    Example: [bold]eos bench searched-like fastv --shape llava-1.5-7b --batch 1[/bold]
    """
    if serve:
        from eos_platform.cli.serving.serve_load import loaded_engine

        loads = [int(number) for number in numbers(at_once, "--at-once")]
        loaded_engine(operators or [], model or "bundled", loads, requests, new, out / LOADS, repeats or 3)
        return
    from rich.progress import Progress

    from eos_platform.bench.operators import SEARCHED, check_named
    from eos_platform.bench.report import frame, table
    from eos_platform.bench.run import MODES, Plan
    from eos_platform.bench.run import bench as run_bench
    from eos_platform.bench.shapes import SHAPES, load
    from eos_platform.models.loading.devices import find_device

    if shape == "list":
        for name, known in SHAPES.items():
            terminal.say(f"{name:16} {known.about}")
        return
    wanted = words(modes, "--modes")
    for mode in wanted:
        if mode not in MODES:
            raise EosError(f"--modes {brief(mode)}: one of {', '.join(MODES)}")
    plan = Plan(
        operators=operators or [SEARCHED],
        tokens=numbers(tokens, "--tokens"),
        batches=[int(number) for number in numbers(batch, "--batch")],
        text=text,
        new=new,
        repeats=repeats or 20,
        modes=wanted,
        decode=decode,
    )
    check_named(plan.operators)
    check_writable(out / ROWS)
    if mlflow != "none":
        from eos_platform.cli.compare import ready

        ready(mlflow)
    where = find_device(device)
    console = terminal.console()
    rows: list[dict[str, Any]] = []
    total = plan.measurements
    with Progress(*Progress.get_default_columns(), console=console, disable=not terminal.draws(console)) as progress:
        task = progress.add_task("loading the model", total=total)
        name, loaded, grid = load(shape, model, where, trust_remote_code=trust_remote_code, allow_missing=allow_missing)
        for row in run_bench(loaded, grid, plan, lambda what: progress.update(task, description=what)):
            rows.append({"model": name, **row})
            progress.advance(task)
            write_atomic(out / ROWS, "".join(strict_json.dumps(strict_json.plain(one)) + "\n" for one in rows))
    console.print(table(rows), soft_wrap=True)
    results = frame(rows)
    write_atomic(out / TABLE, results.to_csv(index=False))
    from eos_platform.dashboards.page import alone
    from eos_platform.dashboards.speed import speed_figure

    write_atomic(out / PAGE, alone(speed_figure(results)))
    terminal.stored()
    console.print(f"wrote {out / ROWS}, {out / TABLE}, {out / PAGE}", soft_wrap=True)
    if mlflow != "none":
        _log(mlflow, name, results, out)


def _log(uri: str, name: str, results: Any, out: Path) -> None:
    """One run with the table and the page."""
    from eos_platform.common.addresses import masked
    from eos_platform.tracking.client import TROUBLE, connect, experiment_of, first_line

    try:
        client = connect(uri)
        run = client.create_run(experiment_of(client, "eos bench", None).experiment_id, run_name=name)
        client.log_table(run.info.run_id, results, artifact_file="bench.json")
        client.log_artifact(run.info.run_id, str(out / PAGE))
        client.set_terminated(run.info.run_id)
    except TROUBLE as error:
        raise EosError(f"cannot write the MLflow store {masked(uri)}: {first_line(error)}") from None


def words(text: str, option: str) -> tuple[str, ...]:
    """What an option names, with commas between.

    Raises:
        EosError: nothing.
    """
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise EosError(f"{option}: nothing given")
    return parts


def numbers(text: str, option: str) -> list[float]:
    """The numbers that an option names, with commas between.

    Raises:
        EosError: something else, or one that is out of bounds.
    """
    try:
        parts = [float(word) for word in words(text, option)]
    except ValueError:
        raise EosError(f"{option} {brief(text)}: expected numbers separated by commas") from None
    if not all(1 <= number <= MOST for number in parts):
        raise EosError(f"{option} {brief(text)}: every number must be 1 or more, and {MOST:,} at most")
    return parts
