"""Faults on the real thing. The kinds, and a table of them: ``python tests/faults/run_faults.py``."""

import sys
from pathlib import Path

# pytest's importlib mode puts no folder on the path
sys.path.insert(0, str(Path(__file__).parent))
