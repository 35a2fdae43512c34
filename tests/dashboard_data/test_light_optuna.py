"""Optuna's parts without scikit-learn and matplotlib, which the dashboard would load for nothing."""

import subprocess
import sys

CODE = """
import sys
from eos_platform.dashboard_data.light_optuna import optuna_part
optuna_part("importance").PedAnovaImportanceEvaluator()
optuna_part("visualization").plot_optimization_history
print(sorted({"sklearn", "matplotlib", "torch"} & set(sys.modules)))
import sklearn, matplotlib  # there again for whoever wants them
"""


def test_neither_is_loaded_and_both_can_be_afterwards():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
