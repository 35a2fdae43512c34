"""Checks by name: each takes a family's sample, counts what it tried, fails by an assertion."""

from __future__ import annotations

from collections.abc import Callable

from eos_platform.models.conformance.zoo import Sample

Check = Callable[[Sample], int]


class Checks(dict[str, Check]):
    """Checks of one idea, in the order of their lines in the matrix."""

    def check(self, name: str) -> Callable[[Check], Check]:
        """Make a check one of them."""

        def named(function: Check) -> Check:
            self[name] = function
            return function

        return named
