"""Names of people's choosing in Plotly's texts, which know some markup of their own."""

from __future__ import annotations

import html

from eos_platform.printable import LABEL, printable


def escape(text: str) -> str:
    """``text`` as Plotly is to show it: markup made harmless, quotes as they are (it knows no ``&quot;``); not endless.

    For what stands between tags; not for attributes.
    """
    return html.escape(printable(text, LABEL), quote=False)
