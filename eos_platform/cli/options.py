"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.common.errors import EosError, shown

Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code from the model's folder (its auto_map).")
]
Chat = Annotated[
    str | None,
    typer.Option(help="A published prompt instead of the processor's template: llava-1.5, as in LLaVA's evaluation."),
]
Missing = Annotated[
    bool,
    typer.Option(
        "--allow-missing",
        help="Initialise weights missing from the model's folder at random, and ignore unexpected ones.",
    ),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.")
]
Servable = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE",
        help="Restrict the search to what an engine (vllm) can serve exactly: one site, before the language "
        "model; see eos serve.",
    ),
]
DeviceProfile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file written by eos profile; times and energy are predicted from it when its device is not the "
        "one in use.",
    ),
]
CostBatch = Annotated[int, typer.Option(min=1, help="Batch size when time or energy is measured.")]
CostMode = Annotated[
    str,
    typer.Option(metavar="MODE", help="How the model runs in those measurements: eager, or captured (a CUDA graph)."),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="Task to score on: scenes, scenes-v2, files, or one from an installed package; default: the task "
        "a bundled model was trained on, else scenes."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Your own questions (--task files): JSONL, CSV, Parquet, tar shards or a folder; see eos data check.",
    ),
]
AllowBad = Annotated[
    str | None, typer.Option(metavar="SHARE", help="Skip unusable rows of --data, up to this share (such as 1%).")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="Another option of the task, such as metric=anls."),
]


def task_of(
    task: str | None,
    data: str | Path | None,
    allow_bad: str | float | None,
    model: str,
    options: list[str] | None = None,
) -> str | dict[str, Any]:
    """The task that is meant, in its normal form; where none is named, ``files`` with data, else the model's own.

    Raises:
        EosError: unknown task, or options that it does not take or lacks.
    """
    from eos_platform.tasks.choice import checked, default_for, parsed

    name = task if task is not None else "files" if data is not None else default_for(model)
    reported = parsed(name, options or ())
    data = None if data is None else str(data)
    return checked({**reported, "name": name, "data": data, "allow_bad": _share(allow_bad)})


def _share(text: str | float | None) -> float | None:
    """A share of 1: ``0.01`` or ``1%``.

    Raises:
        EosError: it is neither.
    """
    if text is None or isinstance(text, float):
        return text
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise EosError(f"--allow-bad: a share such as 0.01 or 1% is expected, not {shown(text)}")
    return share


def cost_fields(cost: str | None, budget: str | None, profile: Path | None) -> dict[str, str]:
    """The settings of a search that say what its budget is about; with a device profile, milliseconds of the prefill
    unless another cost is named, or the budget is in joules."""
    if profile is None:
        return {"cost": cost} if cost else {}
    joules = budget is not None and budget.strip().endswith("J")
    return {"cost": cost or ("energy_j" if joules else "prefill_ms"), "device_profile": str(profile)}


def one_of_modes(mode: str) -> str:
    """How a model runs, as costs know it.

    Raises:
        EosError: not so.
    """
    from eos_platform.common.errors import unknown
    from eos_platform.costs.device.profile import MODES

    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    return mode


def report_bad_rows(workload: Any) -> None:
    """Say on stderr which rows of the task's data are left out."""
    from eos_platform.common import console as terminal

    bad = getattr(getattr(workload, "on", None), "bad", ())
    for line in bad[:LISTED]:
        terminal.say(f"eos: left out: {line}", stderr=True)
    if len(bad) > LISTED:
        terminal.say(f"eos: left out: {len(bad) - LISTED} more rows", stderr=True)


LISTED = 20
