"""What accuracy means: the built-in benchmark, and how a model is asked."""

from eos_platform.tasks.evaluate import Evaluation, evaluate
from eos_platform.tasks.workload import Workload, load_workload

__all__ = ["Evaluation", "Workload", "evaluate", "load_workload"]
