"""The inner, differentiable search. It knows no scheduler and no tracker: a plain function with a report callback.

This folder is also that function: ``eos_platform.search(...)`` is ``eos_platform.search.search(...)``.
"""

import sys
from types import ModuleType
from typing import Any

from eos_platform.search.config import SearchConfig
from eos_platform.search.run import SearchDiverged, SearchResult, search

__all__ = ["SearchConfig", "SearchDiverged", "SearchResult", "search"]


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> SearchResult:
        return search(*args, **options)


sys.modules[__name__].__class__ = _Callable
