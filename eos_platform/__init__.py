"""EOS Platform: search how a vision-language model reduces its visual tokens.

Example:
    >>> import eos_platform as eos
    >>> eos.search("bundled-small", budget=0.3).save("operator.json")
    >>> eos.attach(model, "operator.json")  # the model now reduces its visual tokens
    >>> eos.Study("quickstart").run()  # find operators of your own

Names are imported when they are first used, so that ``import eos_platform`` is quick and a deployed operator needs
neither Ray nor Optuna nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eos_platform.api import evaluate as evaluate
    from eos_platform.api import search as search
    from eos_platform.common.errors import EosError as EosError
    from eos_platform.engine.study import Study as Study
    from eos_platform.models.adapters.target import target_of as target_of
    from eos_platform.models.runtime.attach import attach as attach
    from eos_platform.models.runtime.attach import attached as attached
    from eos_platform.models.runtime.attach import attached_operator as attached_operator
    from eos_platform.models.runtime.attach import detach as detach
    from eos_platform.models.runtime.operator_source import save_operator as save_operator
    from eos_platform.operators.rescale import rescale as rescale
    from eos_platform.operators.spec import OperatorSpec as OperatorSpec
    from eos_platform.search.config import SearchConfig as SearchConfig
    from eos_platform.tasks.workload import load_workload as load_workload

_HOMES = {
    "EosError": "common.errors",
    "OperatorSpec": "operators.spec",
    "attach": "models.runtime.attach",
    "attached": "models.runtime.attach",
    "attached_operator": "models.runtime.attach",
    "detach": "models.runtime.attach",
    "target_of": "models.adapters.target",
    "save_operator": "models.runtime.operator_source",
    "rescale": "operators.rescale",
    "SearchConfig": "search.config",
    "search": "search",
    "load_workload": "tasks",
    "evaluate": "api",
    "Study": "engine.study",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # which takes a third of the time to import this package

        try:
            return metadata.version("eos-platform")
        except metadata.PackageNotFoundError:
            return "unknown (not installed)"
    if name not in _HOMES:
        raise AttributeError(f"module 'eos_platform' has no attribute '{name}'")
    home = importlib.import_module(f"eos_platform.{_HOMES[name]}")
    return home if name == "search" else getattr(home, name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES, "__version__"]
