"""The inner, differentiable search. It knows no scheduler and no tracker: a plain function with a report callback.

``eos_platform.search(...)`` is ``eos_platform.api.search(...)``: Python gives the package's attribute ``search`` to
this folder as soon as anything imports it, so the folder answers when it is called.
"""

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

from eos_platform.search.config import SearchConfig
from eos_platform.search.run import SearchDiverged, SearchResult, search

__all__ = ["SearchConfig", "SearchDiverged", "SearchResult", "search"]


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> SearchResult:
        return _front()(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_front())


def _front() -> Any:
    # by name: what is called from outside is above this folder, which itself needs nothing of it
    return importlib.import_module("eos_platform.api").search


sys.modules[__name__].__class__ = _Callable
