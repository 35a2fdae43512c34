"""The comparison with every design at the end of a search, and what a person should know of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.portfolio.candidates import Candidate
from eos_platform.search.portfolio.judge import Judge, detectable

ERRORS = 3.0  # a design so many standard errors behind in the first look is not asked again


def ahead(looked: Sequence[Candidate], judge: Judge, operator: OperatorSpec) -> list[Candidate]:
    """The designs that answer more of the judge's questions rightly than ``operator`` (or as many, at less loss), best
    first."""
    mine = judge.verdict(operator)
    better = []
    for one in looked:
        asked = len(one.verdict.right_q)
        gap = mine.right_q[:asked].astype(float) - one.verdict.right_q.astype(float)
        if gap.mean() > ERRORS * max(gap.std(), 1 / asked) / math.sqrt(asked):
            continue
        try:
            if judge.verdict(one.operator).rank > mine.rank:
                better.append(one)
        except EosError:
            continue
    return sorted(better, key=lambda one: judge.verdict(one.operator).rank, reverse=True)


def remarks_on(
    operator: OperatorSpec, finder: str, winner: str, looked: Sequence[Candidate], judge: Judge, trail: dict[str, Any]
) -> Iterator[str]:
    """The portfolio's story, a line each."""
    yield f"starting point: {finder} (the best of {len(trail['race'])} short searches; {len(looked)} designs evaluated)"
    if finder != winner:
        yield (
            f"guard: design {finder} was better than the operator found from {winner}, so the search continued from"
            " the design"
        )
    best = max(looked, key=lambda one: one.verdict.rank, default=None)
    if best is not None:
        try:
            mine, theirs = judge.verdict(operator), judge.verdict(best.operator)
        except EosError:
            return
        yield (
            f"best design: {best.name}, {theirs.accuracy:.1%} against {mine.accuracy:.1%} for the searched operator, on"
            f" the {judge.questions} questions that were also used for choosing; detectable difference:"
            f" {100 * detectable(mine, theirs):.1f} points (80 % power)"
        )
    if not judge.fresh:
        yield "note: there are too few validation questions to use separate ones for decisions and for the accuracy"
