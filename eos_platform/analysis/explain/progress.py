"""How far an explanation is, by what its measurements cost, so that the time left can be told from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

PARTS = 1000  # of the work, in which progress is told
SITES = 0.1  # of the unreduced model's time: what the sites of an operator take, about
Advance = Callable[[int, int, str], None]  # parts of the work done, of how many, what is under way


class Progress:
    """Tells how much of the work is done, after every batch of a measurement.

    Args:
        shares: of the measurements in their order, what they cost.
        questions: of each.
    """

    def __init__(self, advance: Advance, shares: Sequence[float], questions: int) -> None:
        self.advance, self.left, self.questions = advance, list(shares), questions
        self.done, self.total = 0.0, sum(shares)

    def begin(self, what: str) -> Callable[[int], None]:
        """The next measurement; gives what is told how many questions were answered."""
        start, share = self.done, self.left.pop(0)
        self.done += share
        many = 0

        def answered_some(count: int) -> None:
            nonlocal many
            many = min(many + count, self.questions)
            self.advance(int(PARTS * (start + share * many / self.questions) / self.total), PARTS, what)

        answered_some(0)
        return answered_some
