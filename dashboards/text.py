"""Values as figures and pages take them: a frame's rows, numbers in words, names of people's choosing.

Plotly's texts know some markup of their own.
"""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from eos_platform.common.printable import LABEL, printable


def escape(text: str) -> str:
    """``text`` as Plotly is to show it: markup made harmless, quotes as they are (it knows no ``&quot;``); not endless.

    For what stands between tags; not for attributes.
    """
    return html.escape(printable(text, LABEL), quote=False)


def short(value: Any) -> str:
    """A setting as people read it: numbers to three digits, words as they are."""
    try:
        return f"{float(value):.3g}"
    except (TypeError, ValueError):
        return "" if value is None else printable(str(value), LABEL)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary a row, by column name."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
