"""MLflow: what is logged, under which names, and how to read it back."""

import os

# MLflow reports its use to its makers unless told not to, before it is imported
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from eos_platform.tracking.reading.operators import Provenance as Provenance
from eos_platform.tracking.reading.operators import load_operator as load_operator
from eos_platform.tracking.reading.operators import provenance as provenance
from eos_platform.tracking.reading.studies import read_study as read_study
