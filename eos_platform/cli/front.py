"""``eos front``: operators for many budgets, each search starting from its neighbour's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eos_platform.cli.options import AllowBad, Data, Missing, Options, Task, Trust, task_of, tell_bad
from eos_platform.common import console as terminal
from eos_platform.common.files import check_writable


def front(
    budgets: Annotated[str, typer.Option(help="Compute ratios, with commas between.")] = ".33,.22,.15,.1,.05",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the operator files.")] = Path("front"),
    model: Annotated[str, typer.Option(help="A bundled model (bundled, bundled-small) or a model folder.")] = "bundled",
    task: Task = "scenes",
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    seed: Annotated[int, typer.Option(help="Seed of the searches.")] = 0,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a search setting; may be repeated.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Find operators for many budgets, for little more than one search.

    The largest budget is searched whole; each smaller one starts from its neighbour, takes a quarter of the steps,
    starts cooler and is not eased.

    Example: [bold]eos front --model bundled --budgets .3,.2,.1,.05[/bold]
    """
    from eos_platform.analysis.comparison.settings import parse_ratios
    from eos_platform.engine.schema.study_file import parse_override
    from eos_platform.search.config import SearchConfig
    from eos_platform.search.front import configs_of
    from eos_platform.search.front import front as run_front
    from eos_platform.tasks import load_workload
    from eos_platform.terminal.data_bar import data_bar
    from eos_platform.terminal.progress import search_bar
    from eos_platform.terminal.tables import plain_table

    wanted = parse_ratios(budgets, "--budgets") or ()
    config = SearchConfig.of({"seed": seed, **dict(map(parse_override, sets or ()))}, "--set")
    steps = sum(one.steps for one in configs_of(config, wanted))
    chosen = task_of(task, data, allow_bad, options)
    for budget in wanted:
        check_writable(out / _file(budget))
    with data_bar(terminal.console()):
        workload = load_workload(
            model, chosen, device, trust_remote_code=trust_remote_code, allow_missing=allow_missing
        )
    tell_bad(workload)
    console = terminal.console()
    right = ("budget", "ratio", "tokens", "accuracy", "s")
    table = plain_table("validation accuracy, deployed", right=right, left=("operator",))
    done = 0
    with search_bar(console, steps) as tell:

        def report(budget: float):  # type: ignore[no-untyped-def]
            return lambda step, curves: tell(done + step, curves)

        for result in run_front(workload, wanted, config, report=report):
            budget = float(result.operator.provenance["search"]["budget"])  # type: ignore[index, arg-type, call-overload]
            done += int(result.operator.provenance["step"])  # type: ignore[arg-type]
            path = result.operator.save(out / _file(budget))
            table.add_row(
                str(path),
                f"{budget:g}",
                f"{result.compute_ratio:.3f}",
                f"{result.mean_tokens:.0f}",
                f"{result.accuracy:.1%}",
                f"{result.seconds:.0f}",
            )
    terminal.stored()
    console.print(table)
    console.print(
        f"compare them with hand-designed operators: eos compare {out}/*.json --model {model}",
        soft_wrap=True,
    )


def _file(budget: float) -> str:
    return f"operator-{budget:g}.json"
