"""Which split a row belongs to: by the bytes of its pictures, so that no picture, copies included, is in two."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from eos_platform.protocols import Split

SHARES: dict[Split, float] = {"search": 0.7, "validation": 0.15, "heldout": 0.15}


def split_of(digest: bytes) -> Split:
    """The split that a picture of this SHA-256 belongs to."""
    place, least = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for split, share in SHARES.items():
        least += share
        if place < least:
            return split
    return "heldout"


class Together:
    """What must stay together: rows joined by a picture, or by a name that they share.

    A row of one picture goes where the picture's own digest says, however many rows are added; rows that bind several
    pictures together go where the least of their digests says.
    """

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def join(self, things: Iterable[Hashable]) -> None:
        """Bind pictures (their digests) and names (tuples) into one."""
        first, *rest = (self._root(thing) for thing in things)
        for other in rest:
            other = self._root(other)
            first = self._root(first)
            if other != first:
                low, high = sorted((first, other), key=_order)
                self._parent[high] = low
                first = low

    def least(self, thing: Hashable) -> bytes:
        """The digest that decides for all that ``thing`` is bound to."""
        result = self._root(thing)
        assert isinstance(result, bytes)
        return result

    def _root(self, thing: Hashable) -> Hashable:
        parent = self._parent
        path = []
        while (above := parent.setdefault(thing, thing)) != thing:
            path.append(thing)
            thing = above
        for one in path:
            parent[one] = thing
        return thing


def _order(thing: Hashable) -> tuple[bool, bytes]:
    """Digests before names, so that a digest decides."""
    return (False, thing) if isinstance(thing, bytes) else (True, repr(thing).encode())


def key_of(digests: Sequence[bytes]) -> str:
    """Names what a question shows: of one picture its digest, of several all of them."""
    return "-".join(digest.hex() for digest in digests)
