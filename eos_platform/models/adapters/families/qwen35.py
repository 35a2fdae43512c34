"""Qwen3.5, with experts or without: three layers of linear attention to one that looks at tokens.

Linear-attention layers read what is there one token after another (``attention/recurrent.py``). They have no attention
rows: a site before one asks the next layer that has any, of what enters at the site.
"""

from __future__ import annotations

from eos_platform.models.adapters.qwen import Qwen


class Qwen35(Qwen):
    """Images of any size, films, 3-D positions that turn a quarter of each head."""

    name = "Qwen3.5"
    model_types = ("qwen3_5", "qwen3_5_moe")
