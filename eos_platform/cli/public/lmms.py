"""``eos lmms``: an lmms-eval run with an operator, told when it fails, its results read back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic

SUMMARY = "summary.json"


def lmms(
    tasks: Annotated[str, typer.Option(help="lmms-eval tasks, separated by commas.")],
    model: Annotated[str, typer.Option(help="A bundled model or a model folder.")] = "bundled",
    operator: Annotated[
        Path | None, typer.Option(help="An operator file; if omitted, only the unreduced model is measured.")
    ] = None,
    include_path: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of your own lmms-eval task files.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N questions of each task.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size.")] = 16,
    simple: Annotated[
        bool,
        typer.Option(
            "--simple", help="Use lmms-eval's simple interface (contexts and pictures) instead of chat messages."
        ),
    ] = False,
    mlflow: Annotated[str, typer.Option(metavar="URI|none", help="MLflow tracking URI to log the scores to.")] = "none",
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for results and answers.")] = Path("eos-lmms"),
) -> None:
    """Run lmms-eval (pip install 'eos-platform\\[lmms]') on a model with an operator, and read its scores back.

    Answers are saved as they come: the same command resumes where it stopped. A run without results is an error,
    whatever lmms-eval's exit status. If --out also holds the unreduced model's answers, scores are also shown as a
    percentage of its scores.

    Example: [bold]eos lmms --model M --operator operator.json --tasks pope,gqa[/bold]
    """
    from eos_platform.analysis.benchmark.run import operator_hash
    from eos_platform.analysis.benchmark.store import model_hash
    from eos_platform.common.extras import needed
    from eos_platform.lmms.results import beside, read_results
    from eos_platform.models.loading.opening import opening
    from eos_platform.operators.spec import OperatorSpec
    from eos_platform.terminal.tables import plain_table

    spec = OperatorSpec.load(operator) if operator else None
    check_writable(out / SUMMARY)
    needed("lmms_eval", "lmms", "eos lmms")
    with opening(model) as folder:
        args = {"pretrained": model, "model_hash": model_hash(Path(folder)), "answers": str(out / "answers")}
    args |= {"operator": str(operator), "operator_hash": operator_hash(spec)} if operator else {}
    if broken := [value for value in args.values() if "," in value or "=" in value]:
        raise EosError(f"lmms-eval cannot be told a path with a comma or an equals sign: {broken[0]}")
    left = out / f"{operator_hash(spec)}-{args['model_hash']}"
    before = set(left.rglob("*_results.json"))
    words = [sys.executable, "-m", "lmms_eval", "--model", "eos", "--tasks", tasks, "--batch_size", str(batch)]
    words += ["--model_args", ",".join(f"{key}={value}" for key, value in args.items())]
    words += ["--log_samples", "--output_path", str(left)]
    words += ["--include_path", str(include_path)] if include_path else []
    words += ["--limit", str(limit)] if limit else []
    words += ["--device", device] if device else []
    words += ["--force_simple"] if simple else []
    done = subprocess.run(words, check=False)
    if done.returncode or not set(left.rglob("*_results.json")) - before:
        raise EosError(f"lmms-eval failed (exit status {done.returncode}) and left no results; what it said is above")
    result = read_results(left)
    whole = _unreduced(out, args["model_hash"]) if operator else {}
    table = plain_table(left=("task", "score", "by"), right=("value", "% of unreduced"))
    reported: dict[str, dict[str, dict[str, float]]] = {}
    for one in result:
        seen = beside(one, whole[one.task]) if one.task in whole else None
        shares = dict(seen.of_unreduced) if seen else {}
        for by, mark, values in (("lmms-eval", "", one.theirs), ("official", "official ", one.official)):
            for key, value in values.items():
                share = shares.get(mark + key)
                table.add_row(one.task, key, by, f"{value:.4f}", "" if share is None else f"{share:.1f}")
        reported[one.task] = {"lmms-eval": dict(one.theirs), "official": dict(one.official)}
        if seen:
            shares["same answers"] = 100 * seen.same / max(1, seen.asked)
            reported[one.task]["of unreduced"] = shares
            table.add_row(one.task, "same answers", "both", f"{seen.same} of {seen.asked}", "")
    write_atomic(
        out / SUMMARY, strict_json.dumps(strict_json.plain({"model_args": args, "results": reported}), indent=2)
    )
    terminal.console().print(table)
    if mlflow != "none":
        _log(mlflow, args, reported)


def _unreduced(out: Path, model: str) -> dict[str, Any]:
    """Tasks that the same model was asked without an operator, by an earlier run into the same folder."""
    from eos_platform.lmms.results import read_results

    try:
        return {one.task: one for one in read_results(out / f"none-{model}")}
    except EosError:
        return {}


def _log(uri: str, args: dict[str, str], reported: dict[str, dict[str, dict[str, float]]]) -> None:
    """A run of the experiment ``lmms-eval``."""
    from mlflow import MlflowClient

    from eos_platform.common.boundary import reading

    with reading(f"MLflow at {uri} cannot be written"):
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("lmms-eval")
        number = experiment.experiment_id if experiment else client.create_experiment("lmms-eval")
        run = client.create_run(number, run_name=args.get("operator", "unreduced"))
        for key, value in args.items():
            client.log_param(run.info.run_id, key, value)
        for task, sides in reported.items():
            for side, values in sides.items():
                for key, score in values.items():
                    client.log_metric(run.info.run_id, f"{task}/{side}/{key.replace(',', '/')}", score)
        client.set_terminated(run.info.run_id)
