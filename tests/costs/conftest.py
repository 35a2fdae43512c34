"""The small random LLaVA of the models' tests."""

import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).parents[1] / "models")
)  # for helpers: pytest's importlib mode puts no folder on the path

from small_llava import eager, model, small, spec, wider

__all__ = ["eager", "model", "small", "spec", "wider"]
