"""Many budgets for little more than one search: each starts from what its dearer neighbour found.

for result in front(load_workload("bundled"), (0.33, 0.2, 0.1, 0.05), SearchConfig()):
    result.operator.save(f"{result.operator.name}.json")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eos_platform.common.errors import EosError
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.run import Report, SearchResult, search
from eos_platform.search.start import check
from eos_platform.tasks.base import Subject

PART = 4  # a search that starts from its neighbour takes one step in so many
COOL = 0.1  # and its selection starts no softer than this: which tokens matter is known already


def front(
    workload: Subject,
    budgets: Sequence[float],
    config: SearchConfig,
    *,
    report: Callable[[float], Report] | None = None,
) -> Iterator[SearchResult]:
    """One search a budget, from the largest to the smallest; the first is a whole one, the others are short.

    Args:
        budgets: values of the cost that ``config`` names.
        config: of the first search; its own budget plays no part.
        report: given a budget, the report callback of its search.

    Raises:
        EosError: no budgets, or one that nothing reaches; before anything is searched.
    """
    configs = configs_of(config, budgets)
    cost: SearchCost | None = None
    for one in configs:
        cost = check(workload, one, cost)
    result: SearchResult | None = None
    for one in configs:
        report_one = report(one.budget) if report else None
        result = search(workload, one, report=report_one, start=result.parameters if result else None, cost=cost)
        yield result


def configs_of(config: SearchConfig, budgets: Sequence[float]) -> list[SearchConfig]:
    """The searches of a front, in order.

    Raises:
        EosError: no budgets, or one out of bounds.
    """
    if not budgets:
        raise EosError("a front needs at least one budget")
    configs = []
    for number, budget in enumerate(sorted(set(budgets), reverse=True)):
        values = config.model_dump() | {"budget": budget}
        if number:
            soft = max(config.temperature_end, min(config.temperature_start, COOL))
            values |= {"steps": max(4, config.steps // PART), "temperature_start": soft, "budget_warm_up": 1.0}
        configs.append(SearchConfig.of(values, "front"))
    return configs
