"""MLflow: what is logged, under which names, and how to read it back.

MLflow is imported when something of it is asked for: the dashboard over a store of tables does without.
"""

import os
from typing import TYPE_CHECKING, Any

# MLflow reports its use to its makers unless told not to, before it is imported
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

if TYPE_CHECKING:
    from eos_platform.tracking.reading.operators import Provenance as Provenance
    from eos_platform.tracking.reading.operators import load_operator as load_operator
    from eos_platform.tracking.reading.operators import provenance as provenance
    from eos_platform.tracking.reading.studies import read_study as read_study

_PLACES = {"Provenance": "operators", "load_operator": "operators", "provenance": "operators", "read_study": "studies"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.reading.{_PLACES[name]}"), name)
