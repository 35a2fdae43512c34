"""Who is told how far long work over data has come: nobody, or the bar that a command shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Tell = Callable[[str, int, int | None], None]  # what is done, how many are, of how many (None: not known)
_TELL: ContextVar[Tell | None] = ContextVar("tell", default=None)


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Tell ``tell`` of all such work in the block."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def counted(what: str, things: Iterable[T], total: int | None = None) -> Iterator[T]:
    """``things``, each of them told."""
    tell = _TELL.get()
    if tell is None:
        yield from things
        return
    tell(what, 0, total)
    for done, thing in enumerate(things, 1):
        yield thing
        tell(what, done, total)
