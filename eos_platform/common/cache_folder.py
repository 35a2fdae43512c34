"""Where things lie that can be made again: ``$EOS_CACHE``, by default ``~/.cache/eos-platform``."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "EOS_CACHE"


def cache_folder() -> Path | None:
    """The folder; None: there is to be no cache (``off``)."""
    configured = os.environ.get(FOLDER, "")
    if configured == "off":
        return None
    return Path(configured) if configured else Path.home() / ".cache" / "eos-platform"
