"""Names of people's choosing in Plotly's texts, which know some markup of their own."""

from __future__ import annotations

import html
from typing import Any

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
