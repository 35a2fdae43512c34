"""The inner, differentiable search. It knows no scheduler and no tracker: a plain function with a report callback."""

from eos_platform.search.config import SearchConfig
from eos_platform.search.run import SearchDiverged, SearchResult, search

__all__ = ["SearchConfig", "SearchDiverged", "SearchResult", "search"]
