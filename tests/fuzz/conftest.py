"""The helpers here are modules of a package, found from the repository's root."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # pytest's importlib mode puts no folder on the path
