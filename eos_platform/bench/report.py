"""The rows of a benchmark as a table, a CSV and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
COLUMNS = (
    ("batch", "batch", "{:d}"),
    ("tokens", "tokens", "{:.0f}"),
    ("memory_mb", "MiB", "{:.0f}"),
    ("eager_prefill_ms", "eager ms", "{:.2f}"),
    ("eager_speedup", "speedup", "{:.2f}"),
    ("eager_over_bound", "/ bound", "{:.3f}"),
    ("captured_prefill_ms", "captured ms", "{:.2f}"),
    ("captured_bound_ms", "bound ms", "{:.2f}"),
    ("captured_speedup", "speedup", "{:.2f}"),
    ("captured_over_bound", "/ bound", "{:.3f}"),
    ("captured_own_ms", "own ms", "{:.2f}"),
    ("compiled_prefill_ms", "fused ms", "{:.2f}"),
    ("compiled_speedup", "speedup", "{:.2f}"),
    ("compiled_over_bound", "/ bound", "{:.3f}"),
    ("compiled_own_ms", "own ms", "{:.2f}"),
    ("eager_first_token_ms", "first eager", "{:.2f}"),
    ("captured_first_token_ms", "first capt.", "{:.2f}"),
    ("captured_decode_ms", "decode ms", "{:.2f}"),
    ("captured_answers_s", "answers/s", "{:.1f}"),
)


def table(rows: Sequence[Row]) -> str:
    """For a terminal; columns that nothing fills are left out."""
    shown = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows)]
    lines = [f"{'operator':16}" + "".join(f"{head:>12}" for _, head, _ in shown)]
    for row in rows:
        cells = ["" if row.get(key) is None else form.format(row[key]) for key, _, form in shown]
        lines.append(f"{row['operator']:16}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a row."""
    import pandas as pd

    return pd.DataFrame(list(rows))
