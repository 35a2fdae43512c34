"""The ``eos`` command: thin words around ``search``, ``evaluate`` and ``Study``."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import eos_platform
from eos_platform.cli.bench import bench
from eos_platform.cli.cluster import cluster_app
from eos_platform.cli.compare import compare
from eos_platform.cli.comparing.ranks import ranks
from eos_platform.cli.comparing.transfer import transfer
from eos_platform.cli.dashboard import dashboard
from eos_platform.cli.data import data_app
from eos_platform.cli.errors import Commands
from eos_platform.cli.explain import explain
from eos_platform.cli.front import front
from eos_platform.cli.options import (
    AllowBad,
    CostBatch,
    CostMode,
    Data,
    DeviceProfile,
    Missing,
    Options,
    Servable,
    Sets,
    Task,
    Trust,
    cost_fields,
    one_of_modes,
    report_bad_rows,
    task_of,
)
from eos_platform.cli.plugins import plugins
from eos_platform.cli.public.benchmark import benchmark
from eos_platform.cli.public.lmms import lmms
from eos_platform.cli.report import report
from eos_platform.cli.scale import DryRun, Dtype, Gpus, Memory, first_device
from eos_platform.cli.serving.serve import serve
from eos_platform.cli.speed.profile import profile
from eos_platform.cli.study import study_app
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Find which visual tokens a vision-language model can drop, merge or reweight at a given compute budget.\n\n"
    "Example: [bold]eos study run quickstart[/bold]",
)
Model = Annotated[
    str, typer.Option(help="A bundled model (bundled, bundled-qwen ...), a folder, or a name on the Hub, OWNER/NAME.")
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model on the Hub; same as OWNER/NAME@REVISION.")
]
Device = Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")]


def _version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"eos {eos_platform.__version__}")
        raise typer.Exit


@app.callback()
def _eos(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def search(
    output: Annotated[Path, typer.Option("--output", "-o", help="Path of the operator file to write.")] = Path(
        "operator.json"
    ),
    model: Model = "bundled",
    revision: Revision = None,
    task: Task = None,
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL:TASK",
            help="Search one operator for this model and task as well; may be repeated. MODEL alone: its own task; "
            ":TASK: the same model.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Target value of the cost, with or without its unit: 0.2, 20%, 8ms, 1.5MB. Default 0.2."),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="What the budget limits: compute_ratio, prefill_ms, first_token_ms, decode_ms, answer_ms, kv_bytes,"
            " peak_bytes, energy_j, mean_tokens, tokens_left; default compute_ratio, with --device-profile prefill_ms."
        ),
    ] = None,
    device_profile: DeviceProfile = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; default 480.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    sets: Sets = None,
    servable: Servable = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; if one is there, the search resumes from it.")
    ] = None,
    device: Device = None,
    dtype: Dtype = "auto",
    memory: Memory = None,
    gpus: Gpus = 1,
    dry_run: DryRun = False,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Search for one operator at one budget, by gradient descent.

    The search first tries several starting points (hand-designed operators, rounds of merging, free sites), refines
    the best, and compares the result with every hand-designed operator. [bold]--set portfolio=false[/bold] uses a
    single starting point and takes less time.

    A budget can be given in milliseconds, bytes or joules. With --device-profile (a file written by eos profile), a
    budget of time or energy is met on that device, wherever the search itself runs; [bold]--set cost_batch=16[/bold]
    and [bold]--set cost_mode=captured[/bold] describe how the model runs there.

    With --also, one operator is searched for several models of one shape, or several tasks, and measured in each;
    [bold]--set generalist=worst[/bold] gives most weight to the place that loses most, instead of the same to all.

    Example: [bold]eos search --model bundled --budget 0.2[/bold]
    """
    from eos_platform.analysis.transfer.places import beside
    from eos_platform.cli.scale import dry, resources_of
    from eos_platform.costs.device.known import profile_of
    from eos_platform.costs.measured.pays import time_lines
    from eos_platform.engine.schema.study_file import parse_override
    from eos_platform.models.loading.hub import at_revision
    from eos_platform.search.config import SearchConfig
    from eos_platform.search.generalist.run import generalist
    from eos_platform.search.portfolio.find import find, planned_steps
    from eos_platform.search.scale.processes import search_together
    from eos_platform.tasks import load_workload
    from eos_platform.tasks.choice import options_of
    from eos_platform.tasks.typical import cost_context
    from eos_platform.terminal.data_bar import data_bar
    from eos_platform.terminal.progress import search_bar
    from eos_platform.terminal.tables import operator_table

    fields = dict(map(parse_override, sets or ()))
    given = {**cost_fields(cost, budget, device_profile), "budget": budget, "steps": steps, "servable": servable}
    overrides = {name: value for name, value in given.items() if value is not None}
    config = SearchConfig.of({"seed": seed, **overrides, **fields})
    profile_of(config.setting)  # one that is none is an error before anything long begins
    model = at_revision(model, revision)
    chosen = task_of(task, data, allow_bad, model, options)
    check_writable(output)
    if state is not None:
        check_writable(state / "search.safetensors")
    resources = resources_of(memory, gpus, device)
    if also and (dry_run or resources.processes > 1):
        raise EosError(f"--also: a search over several places has no {'--dry-run' if dry_run else '--gpus'}")
    load = partial(
        load_workload, model, chosen, dtype=dtype, trust_remote_code=trust_remote_code, allow_missing=allow_missing
    )
    with data_bar(terminal.console()):
        workload = load(device=device if gpus == 1 or device else first_device())
        places = beside(workload, also or (), device)
    for place in places:
        report_bad_rows(place)
    console = terminal.console()
    if dry_run:
        dry(workload, config, resources, state)
        return
    together = resources.processes > 1  # whose one search has one start
    with search_bar(console, config.steps if together or also else planned_steps(config)) as report:
        tell = lambda line: console.print(line, soft_wrap=True)  # noqa: E731
        if also:
            result = generalist(places, config, report=report, checkpoint=state, resources=resources, tell=tell)
        elif together:
            result = search_together(load, workload, config, resources, report=report, checkpoint=state, tell=tell)
        else:
            result = find(workload, config, report=report, checkpoint=state, resources=resources, tell=tell)
    result.operator.save(output)
    terminal.stored()
    console.print(operator_table(result.operator))
    console.print(
        f"deployed: accuracy {result.accuracy:.1%} at {result.paid()}, {result.seconds:.0f} s",
        soft_wrap=True,
    )
    for line in (*time_lines(cost_context(workload, setting=config.setting), result.operator), *result.remarks):
        console.print(line, soft_wrap=True)
    if result.cost is not None and result.cost.remark:
        console.print(f"note: {result.cost.remark}", soft_wrap=True)
    again = shlex.join(["eos", "evaluate", str(output), "--model", model, *options_of(chosen, model)])
    console.print(f"saved {output}; measure it with: {again}", soft_wrap=True)


def evaluate(
    operator: Annotated[
        Path | None,
        typer.Argument(
            help="An operator file, or models:/NAME@ALIAS in MLflow's registry; if omitted, only the unreduced model "
            "is measured."
        ),
    ] = None,
    model: Model = "bundled",
    revision: Revision = None,
    task: Task = None,
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 4096,
    costs: Annotated[
        list[str] | None,
        typer.Option("--cost", help="Also measure this cost, such as prefill_ms or kv_bytes; may be repeated."),
    ] = None,
    device_profile: DeviceProfile = None,
    batch: CostBatch = 1,
    mode: CostMode = "eager",
    device: Device = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Measure a deployed operator and the unreduced model on the same held-out questions.

    Example: [bold]eos evaluate operator.json --model bundled --questions 1024[/bold]
    """
    from eos_platform.analysis.stats.intervals import interval
    from eos_platform.costs.amount import amount
    from eos_platform.costs.device.known import doubts, profile_of
    from eos_platform.costs.flops import compute_ratio
    from eos_platform.costs.measured.pays import PREFILL, time_lines, told
    from eos_platform.costs.quantity import shown_cost, shown_quantity
    from eos_platform.costs.registry import COSTS
    from eos_platform.models.loading.hub import at_revision
    from eos_platform.models.runtime.operator_source import operator_from
    from eos_platform.operators.spec import OperatorSpec
    from eos_platform.protocols import Setting
    from eos_platform.tasks import evaluate as run_evaluation
    from eos_platform.tasks import load_workload
    from eos_platform.tasks.typical import cost_context
    from eos_platform.terminal.data_bar import data_bar
    from eos_platform.terminal.tables import operator_table, skills_table

    spec = operator_from(operator) if operator else None
    fields = [COSTS.get_named(name) for name in costs or (["prefill_ms"] if device_profile else [])]
    setting = Setting(batch, one_of_modes(mode), profile=str(device_profile or ""))
    profile_of(setting)  # one that is none is an error before anything long begins
    model = at_revision(model, revision)
    chosen = task_of(task, data, allow_bad, model, options)
    with data_bar(terminal.console()):
        workload = load_workload(
            model, chosen, device, trust_remote_code=trust_remote_code, allow_missing=allow_missing
        )
    report_bad_rows(workload)
    console = terminal.console()
    with console.status(f"evaluating on {questions} questions"), data_bar(console):
        evaluation = run_evaluation(workload, spec, split="heldout", questions=questions)
        whole = run_evaluation(workload, None, split="heldout", questions=questions) if spec else evaluation
    deployed = spec or OperatorSpec(name=workload.name, target=workload.target)
    low, high = interval(evaluation.scores)
    ratio = float(compute_ratio(deployed, workload.shape, workload.text_tokens))
    console.print(operator_table(deployed))
    console.print(skills_table(evaluation.per_skill, whole.per_skill if spec else None))
    console.print(
        f"accuracy {evaluation.accuracy:.1%} (95 %: {low:.1%} .. {high:.1%}, {evaluation.questions} questions) "
        f"at compute ratio {ratio:.3f}",
        soft_wrap=True,
    )
    if spec:
        low, high = interval(whole.scores)
        console.print(f"unreduced model: {whole.accuracy:.1%} (95 %: {low:.1%} .. {high:.1%})", soft_wrap=True)
    context = cost_context(workload, "heldout", questions, setting)
    for cost in fields:
        found = amount(cost, context, spec)
        mark = f", {found.mark}" if found.mark else ""
        beside = f" (unreduced {shown_quantity(amount(cost, context, None).value, cost)})" if spec else ""
        console.print(f"{shown_cost(found.value, cost)}{mark}{beside}", soft_wrap=True)
    if spec and not any(cost.name == PREFILL for cost in fields):
        for line in time_lines(context, spec):
            console.print(line, soft_wrap=True)
    elif spec and (words := told(context, spec)):
        console.print(f"note: {deployed.name} {words}", soft_wrap=True)
    for line in doubts(context):
        console.print(f"note: {line}", soft_wrap=True)


def designs() -> None:
    """List the hand-designed operators that studies are compared with.

    Example: [bold]eos designs[/bold]
    """
    from eos_platform.operators.designs import DESIGNS
    from eos_platform.terminal.tables import designs_table

    terminal.console().print(designs_table(DESIGNS))


# in the order in which people need them
PANELS: dict[str, tuple[Any, ...]] = {
    "Search and measure": (search, evaluate, explain, front, (data_app, "data")),
    "Studies": ((study_app, "study"), dashboard, report),
    "Compare": (compare, designs, ranks, transfer, benchmark, lmms),
    "Deploy": (bench, profile, serve),
    "Installation": ((cluster_app, "cluster"), plugins),
}
for _panel, _commands in PANELS.items():
    for _one in _commands:
        if isinstance(_one, tuple):
            app.add_typer(_one[0], name=_one[1], rich_help_panel=_panel)
        else:
            app.command(rich_help_panel=_panel)(_one)


def main() -> None:
    """The entry point."""
    terminal.run(lambda: app(prog_name="eos"))


if __name__ == "__main__":
    main()
