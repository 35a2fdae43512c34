"""OperatorBench: a table of deployed operators that answers like a model on a GPU.

from eos_platform.benchmark import OperatorBench
bench = OperatorBench("bundled-small")
config = bench.sample()
bench.query(config, objectives=("error", "compute_ratio"), questions=128)
"""

from eos_platform.benchmark.bench import Answer, OperatorBench
from eos_platform.benchmark.space import Knobs, Parameter, Space

__all__ = ["Answer", "Knobs", "OperatorBench", "Parameter", "Space"]
