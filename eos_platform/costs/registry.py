"""The costs there are, by name; other packages add theirs in the entry-point group ``eos_platform.costs``."""

from __future__ import annotations

import math
import re
from typing import Any

import torch

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, brief, shown
from eos_platform.costs.flops import FlopsRatio
from eos_platform.costs.kv_bytes import KvBytes
from eos_platform.costs.measured.device_tells import EnergyJ, PeakBytes
from eos_platform.costs.measured.times import AnswerMs, DecodeMs, FirstTokenMs, PrefillMs
from eos_platform.costs.token_counts import MeanTokens, TokensLeft
from eos_platform.operators.spec import OperatorSpec
from eos_platform.plugins import Registry
from eos_platform.protocols import Cost, CostContext

COMPUTE = FlopsRatio.name  # what budgets are about unless another cost is named
# no fault of the cost, and handled elsewhere
FATAL: tuple[type[Exception], ...] = tuple(
    filter(None, [torch.OutOfMemoryError, getattr(torch, "AcceleratorError", None)])
)
TEXTS, FLAGS = ("name", "unit", "label"), ("relative", "deterministic")


def _cost(thing: Any) -> Cost:
    """An object with everything a cost has; a class is called without arguments first."""
    made = thing() if isinstance(thing, type) else thing
    if not isinstance(made, Cost):
        wanted = (*TEXTS, *FLAGS, "measure", "relaxed")
        lacks = [name for name in wanted if not hasattr(made, name)]
        raise TypeError(f"a cost has {', '.join(lacks)}; {type(made).__name__} has not")
    for name in (*TEXTS, *FLAGS):
        kind = str if name in TEXTS else bool
        if not isinstance(getattr(made, name), kind):
            raise TypeError(f"a cost's {name} is a {kind.__name__}, not {type(getattr(made, name)).__name__}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", made.name) or made.name == "accuracy":
        raise TypeError(
            f"a cost's name is letters, digits, '_', '.' and '-', and names a metric; not {shown(made.name)}"
        )
    return made


def measure(cost: Cost, context: CostContext, operator: OperatorSpec | None) -> float:
    """The cost of a deployed operator (None: of the unreduced model), whoever wrote the cost.

    Raises:
        EosError: it cannot be had here, or the cost is broken; in one line, which.
    """
    try:
        value = float(cost.measure(context, operator))
    except FATAL:
        raise
    except Exception as error:
        if isinstance(error, (EosError, OSError)):
            raise
        raise EosError(f"cost '{cost.name}' fails: {type(error).__name__}: {brief(error_text(error), 200)}") from error
    if not (math.isfinite(value) and value > 0):
        raise EosError(f"cost '{cost.name}' is broken: it measures {value:g}, and costs are finite and above 0")
    return value


COSTS: Registry[Cost] = Registry("cost", "costs", _cost, named=True)
for _made in (
    FlopsRatio(),
    PrefillMs(),
    FirstTokenMs(),
    DecodeMs(),
    AnswerMs(),
    KvBytes(),
    PeakBytes(),
    EnergyJ(),
    MeanTokens(),
    TokensLeft(),
):
    COSTS.register(_made.name, _made)
