"""``eos serve``: operators in a server's engine."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable

SERVER = "vllm.entrypoints.openai.api_server"  # what ``vllm serve`` starts


def serve(
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENT...]", help="Further arguments of the engine.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A bundled model, a folder, or a name on the Hub."),
    ] = None,
    operator: Annotated[Path | None, typer.Option(help="An operator file; without one, the unreduced model.")] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only say how this operator can be served, and start nothing.")
    ] = None,
    engine: Annotated[str, typer.Option(help="The engine: vllm.")] = "vllm",
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Leave out sites inside the language model, which no engine serves.")
    ] = False,
    inside: Annotated[
        bool,
        typer.Option(
            "--inside",
            help="Serve sites inside the language model as well (LLaVA-1.5, vLLM's CPU engine, no prefix caching).",
        ),
    ] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --check: write what is served, to measure it.")
    ] = None,
    dry: Annotated[bool, typer.Option("--print", help="Print the engine's command instead of starting it.")] = False,
) -> None:
    """Serve a model with an operator in vLLM, or say whether that can be done.

    Sites before the language model are served exactly: any selector, merging, sizes, kept positions, steering by the
    question. Sites inside the language model are dropped with --approximate and served with --inside; sites in the
    vision tower are refused. If vLLM is installed in the same environment, it is started and finds the operator
    through a plug-in; otherwise its command is printed. Arguments after -- are passed to the engine.

    Example: [bold]eos serve --model bundled --operator operator.json -- --port 8001[/bold]
    """
    from eos_platform.serve.arguments import served
    from eos_platform.serve.plan import check_engine
    from eos_platform.serve.vllm.patches import check_version, has_command, version

    check_engine(engine)
    if check is not None:
        if operator is not None:
            raise EosError("--check and --operator: give one of them")
        _check(check, engine, model, approximate, inside, save)
        return
    if save is not None:
        raise EosError("--save goes with --check")
    if model is None:
        raise EosError("--model: which model is to be served? (or --check FILE, to ask about an operator alone)")
    found = served(model, operator, approximate=approximate, inside=inside)
    words = found.command(tuple(more or ()))
    if dry or version() is None:
        terminal.say(found.line(tuple(more or ())))
        if not dry:
            terminal.say(
                "vLLM is not installed here; that is its command where it is, beside this package", stderr=True
            )
        return
    check_version()
    if not has_command():
        words = [sys.executable, "-m", SERVER, "--model", *words[2:]]
    else:
        beside = Path(sys.executable).with_name(words[0])
        command = str(beside) if beside.exists() else shutil.which(words[0])
        if command is None:
            raise EosError("vLLM is installed, but its command 'vllm' is not on the path")
        words[0] = command
    terminal.say(shlex.join(words), stderr=True)
    sys.stdout.flush()
    os.execv(words[0], words)  # its signals and its exit code are the engine's own


def _check(file: Path, engine: str, model: str | None, approximate: bool, inside: bool, save: Path | None) -> None:
    """Say it.

    Raises:
        EosError: nothing of it can be served, or not with this model.
    """
    from eos_platform.operators.spec import OperatorSpec
    from eos_platform.serve.arguments import served
    from eos_platform.serve.plan import ServingPlan, Verdict

    plan = ServingPlan.of(OperatorSpec.load(file), engine, inside)
    if model is not None and plan.served is not None:
        served(model, file, approximate=True, inside=inside)
    if save is not None:
        check_writable(save)
    lines: list[tuple[str, Any]] = [(f"{file}: {plan.verdict} in {engine}", "")]
    lines += [("because", reason) for reason in plan.reasons] + [("note", note) for note in plan.notes]
    for name, text in lines:
        terminal.say(f"{name}: {text}" if text else name)
    if plan.served is None:
        raise EosError(f"{file}: refused by {engine}: {plan.reasons[0]}")
    if save is not None:
        plan.served.save(save)
        terminal.say(f"saved {save}; what is lost: eos evaluate {save} --model {model or 'MODEL'}")
    elif plan.verdict is Verdict.APPROXIMATE and not approximate:
        terminal.say("--save FILE writes what is served, to measure what is lost; --approximate serves it")
