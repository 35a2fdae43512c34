"""Every extension point there is, for those who list them all."""

from __future__ import annotations

from typing import Any

from eos_platform.costs.registry import COSTS
from eos_platform.engine.strategy.samplers import SAMPLERS
from eos_platform.models.adapters import ADAPTERS
from eos_platform.operators.designs import DESIGNS
from eos_platform.plugins import Registry
from eos_platform.tasks.metrics.registry import METRICS
from eos_platform.tasks.registry import TASKS


def registries() -> tuple[Registry[Any], ...]:
    """The registries, one a kind."""
    return ADAPTERS, COSTS, DESIGNS, SAMPLERS, TASKS, METRICS
