"""Names of people's choosing in Plotly's texts, which know some markup of their own."""

from __future__ import annotations

import html


def escape(text: str) -> str:
    """``text`` as Plotly is to show it: markup made harmless, quotes as they are (it knows no ``&quot;``).

    For what stands between tags; not for attributes.
    """
    return html.escape(text, quote=False)
