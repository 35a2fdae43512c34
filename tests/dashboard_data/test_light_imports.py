"""The dashboard without what its libraries would load for nothing."""

import subprocess
import sys

CODE = """
import sys
from eos_platform.cli.dashboard import make
from eos_platform.common.errors import EosError
try:
    make("sqlite:///nowhere.db", "http://127.0.0.1:5000")
except EosError:
    pass
else:
    raise SystemExit("no error")
from eos_platform.dashboard_data.light_imports import optuna_part
optuna_part("importance").PedAnovaImportanceEvaluator()
optuna_part("visualization").plot_optimization_history
import dash, pandas
print(sorted({"sklearn", "matplotlib", "torch", "pyarrow", "IPython", "mlflow"} & set(sys.modules)))
import sklearn, matplotlib, pyarrow, IPython  # there again for whoever wants them
print(pandas.DataFrame({"text": ["a", None], "number": [1, 2]}).isna().sum().tolist())
"""


def test_none_is_loaded_and_all_can_be_afterwards(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n[1, 0]\n"
