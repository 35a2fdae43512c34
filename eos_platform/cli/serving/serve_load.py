"""``eos bench --serve``: an engine under load, with operators and without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.files import check_writable, write_atomic

WIDE = 1000  # columns that no table needs
COLUMNS = ("operator", "pictures", "at once", "tokens", "requests/s", "from", "to", "first ms", "between ms", "cache")


def loaded_engine(
    operators: Sequence[str], model: str, at_once: Sequence[int], requests: int, new: int, out: Path, repeats: int = 1
) -> None:
    """Measure, print, and write.

    Args:
        operators: files.
        model: a bundled one, or a folder.
        at_once: requests under way.
        requests: of a run.
        new: tokens of every answer.
        out: the file of the runs, rewritten after each.
        repeats: of every run, with new engines; the table shows medians.

    Raises:
        EosError: vLLM is not installed, or an operator cannot be served exactly.
    """
    from eos_platform.serve.load import measure
    from eos_platform.serve.vllm.patches import check_version

    check_version()
    check_writable(out)
    console, rows = terminal.console(), list[dict[str, Any]]()
    with console.status("an engine under load") as status:
        for row in measure(model, operators, at_once, requests, new, lambda what: status.update(what), repeats):
            rows.append({"model": model, **row})
            write_atomic(out, "".join(strict_json.dumps(strict_json.plain(one)) + "\n" for one in rows))
    table = load_table(rows)
    if not console.is_terminal:  # a file or a pipe has no edge to wrap at
        console.width = max(console.width, console.measure(table, options=console.options.update(width=WIDE)).maximum)
    console.print(table)
    said = f"medians of {repeats} runs, requests/s from the least to the most; " if repeats > 1 else ""
    console.print(f"{said}in brackets: times the unreduced model's; wrote {out}", soft_wrap=True)


def load_table(rows: Sequence[dict[str, Any]]) -> Any:
    """Medians of runs, with their ratios to the unreduced model's."""
    from eos_platform.serve.load import medians, ratios
    from eos_platform.terminal.tables import plain_table

    table = plain_table("an engine under load", right=COLUMNS[2:], left=COLUMNS[:2])
    merged = medians(rows)
    for row in merged:
        share = ratios(row, merged)
        table.add_row(
            row["operator"],
            row["pictures"],
            str(row["at once"]),
            f"{row['tokens']:.0f}",
            f"{row['requests']:.2f} ({share['requests']:.2f})",
            f"{row['least']:.2f}",
            f"{row['most']:.2f}",
            f"{row['first_ms']:.0f} ({share['first_ms']:.2f})",
            f"{row['between_ms']:.1f} ({share['between_ms']:.2f})",
            f"{row['cache']:.1%} ({share['cache']:.2f})",
        )
    return table
