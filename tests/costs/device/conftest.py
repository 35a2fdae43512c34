"""A profile of a made-up device."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for helpers: pytest's importlib mode puts no folder on the path

from made_up_device import made_up, unseen

__all__ = ["made_up", "unseen"]
