"""A small random LLaVA for the tests here, and helpers beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for helpers: pytest's importlib mode puts no folder on the path

from small_llava import eager, model, small, spec, wider

__all__ = ["eager", "model", "small", "spec", "wider"]
