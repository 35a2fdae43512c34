"""Which packages of others a study needs on every node: those that bring its task, its costs or its model's family."""

from __future__ import annotations

from contextlib import suppress

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text
from eos_platform.costs.registry import COSTS
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.models.adapters import ADAPTERS, FAMILIES
from eos_platform.models.loading.opening import CONFIG, place_of
from eos_platform.tasks.choice import name_of
from eos_platform.tasks.registry import TASKS


def packages_of(study: StudyFile) -> set[str]:
    """Names of packages, without their versions."""
    costs = {str(study.search.get("cost", "")), *study.constraints.limits, *study.objectives}
    result = {TASKS.package(name_of(study.task)), *map(COSTS.package, costs), _of_family(study.model)}
    return {package.rpartition(" ")[0] for package in result if package}


def _of_family(model: str) -> str:
    """The package of a model's family; empty: it is built in, or the model's folder tells nothing."""
    with suppress(EosError):
        config = strict_json.loads(read_text(place_of(model, (CONFIG,)) / CONFIG, "configuration"), CONFIG)
        kind = config.get("model_type") if isinstance(config, dict) else None
        if kind not in FAMILIES:
            return next((ADAPTERS.package(name) for name, one in ADAPTERS.items() if kind in one.model_types), "")
    return ""
