"""``eos front``: operators for many budgets, each search starting from its neighbour's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eos_platform.cli.options import (
    AllowBad,
    Data,
    DeviceProfile,
    Missing,
    Options,
    Servable,
    Task,
    Trust,
    cost_fields,
    report_bad_rows,
    task_of,
)
from eos_platform.common import console as terminal
from eos_platform.common.files import check_writable

BUDGETS = ".33,.22,.15,.1,.05"  # compute ratios


def front(
    budgets: Annotated[
        str | None,
        typer.Option(help=f"Budgets separated by commas, with or without a unit. Default {BUDGETS}."),
    ] = None,
    cost: Annotated[
        str | None, typer.Option(help="What the budgets limit, such as prefill_ms or kv_bytes; default compute_ratio.")
    ] = None,
    device_profile: DeviceProfile = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the operator files.")] = Path("front"),
    model: Annotated[
        str,
        typer.Option(help="A bundled model, a folder, or a name on the Hub."),
    ] = "bundled",
    task: Task = None,
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    seed: Annotated[int, typer.Option(help="Seed of the searches.")] = 0,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a search setting; may be repeated.")
    ] = None,
    servable: Servable = None,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Search for operators at several budgets, at little more than the cost of one search.

    The largest budget gets a full search. Each smaller one starts from the operator found at the next larger budget
    and takes a quarter of the steps, at a lower temperature and without budget warm-up.

    Example: [bold]eos front --model bundled --budgets .3,.2,.1,.05[/bold]
    """
    from eos_platform.analysis.comparison.settings import parse_ratios
    from eos_platform.costs.measured.pays import PREFILL, prefill_amounts, told
    from eos_platform.costs.quantity import shown_quantity
    from eos_platform.costs.registry import COMPUTE, COSTS
    from eos_platform.engine.schema.study_file import parse_override
    from eos_platform.search.config import SearchConfig
    from eos_platform.search.front import configs_of
    from eos_platform.search.front import front as run_front
    from eos_platform.tasks import load_workload
    from eos_platform.tasks.typical import cost_context
    from eos_platform.terminal.data_bar import data_bar
    from eos_platform.terminal.progress import search_bar
    from eos_platform.terminal.tables import plain_table

    given = {**cost_fields(cost, budgets, device_profile), "servable": servable}
    fields = {
        "seed": seed,
        **{name: value for name, value in given.items() if value},
        **dict(map(parse_override, sets or ())),
    }
    if fields.get("cost", COMPUTE) == COMPUTE:
        wanted = parse_ratios(budgets or BUDGETS, "--budgets") or ()
        config = SearchConfig.of(fields, "--set")
    else:
        # without any, the cost's own error says in which unit they are
        each = [{"budget": text.strip()} for text in budgets.split(",")] if budgets else [{}]
        configs = [SearchConfig.of({**fields, **one}, "--budgets") for one in each]
        wanted, config = tuple(one.budget for one in configs), configs[0]
    about = COSTS.get_named(config.cost)
    other = () if about.name == COMPUTE else (about.label,)
    steps = sum(one.steps for one in configs_of(config, wanted))
    chosen = task_of(task, data, allow_bad, model, options)
    for budget in wanted:
        check_writable(out / _file(budget))
    with data_bar(terminal.console()):
        workload = load_workload(
            model, chosen, device, trust_remote_code=trust_remote_code, allow_missing=allow_missing
        )
    report_bad_rows(workload)
    console = terminal.console()
    context = cost_context(workload, setting=config.setting)
    timed = () if about.name == PREFILL else ("prefill ms",)
    right = ("budget", *other, "ratio", *timed, "tokens", "accuracy", "s")
    table = plain_table("validation accuracy, deployed", right=right, left=("operator",))
    done, remarks = 0, list[str]()
    with search_bar(console, steps) as tell:

        def report(budget: float):  # type: ignore[no-untyped-def]
            return lambda step, curves: tell(done + step, curves)

        for result in run_front(workload, wanted, config, report=report):
            budget = float(result.operator.provenance["search"]["budget"])  # type: ignore[index, arg-type, call-overload]
            if result.cost is not None and result.cost.remark:
                remarks.append(result.cost.remark)
            done += int(result.operator.provenance["step"])  # type: ignore[arg-type]
            path = result.operator.save(out / _file(budget))
            times = prefill_amounts(context, result.operator)
            known = (times[0].value, times[1].value) if times else None
            if known and (words := told(context, result.operator, known)):
                remarks.append(f"{path} {words}")
            table.add_row(
                path.name,
                shown_quantity(budget, about) if other else f"{budget:g}",
                *([shown_quantity(result.cost.value, about)] if other and result.cost else []),
                f"{result.compute_ratio:.3f}",
                *([f"{times[0].value:.4g}" if times else ""] if timed else []),
                f"{result.mean_tokens:.0f}",
                f"{result.accuracy:.1%}",
                f"{result.seconds:.0f}",
            )
    terminal.stored()
    console.print(table)
    for remark in remarks:
        console.print(f"note: {remark}", soft_wrap=True)
    console.print(
        f"compare them with hand-designed operators: eos compare {out}/*.json --model {model}",
        soft_wrap=True,
    )


def _file(budget: float) -> str:
    return f"operator-{budget:g}.json"
