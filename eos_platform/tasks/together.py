"""Several processes at work on the same questions, and questions in as large portions as memory holds.

Every process has the model and all the questions; of what is to be asked each takes its share, and what was found is
summed up, so that all of them know the same afterwards. Alone, a process takes everything and nothing is sent.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from eos_platform.common.errors import EosError

Found = TypeVar("Found")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Group:
    """Processes that search together.

    Attributes:
        rank: of this one, from 0; the first alone writes and reports.
        size: how many they are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes and reports."""
        return self.rank == 0

    def share(self, values: Sequence[Found]) -> Sequence[Found]:
        """This process' part of what all are to do."""
        return values[self.rank :: self.size]

    def sum_(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def of_first(self, value: Found) -> Found:
        """What the first process has."""
        if self.size == 1:
            return value
        held: list[Any] = [value]
        torch.distributed.broadcast_object_list(held, src=0)
        return held[0]


ALONE = Group()
FEATURES = 0.1  # of a GPU, that features of pictures take at most
_GROUP: ContextVar[Group] = ContextVar("group", default=ALONE)


def group() -> Group:
    """The processes that work on the same as this one now."""
    return _GROUP.get()


@contextmanager
def together(with_group: Group) -> Iterator[None]:
    """While it holds, questions are shared among these processes."""
    token = _GROUP.set(with_group)
    try:
        yield
    finally:
        _GROUP.reset(token)


def free_memory() -> None:
    """Give what no tensor holds back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_bytes(device: torch.device) -> int | None:
    """What this process may hold of a GPU; None: it is none."""
    if device.type != "cuda":
        return None
    share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda one: 1.0)(device)
    return int(share * torch.cuda.get_device_properties(device).total_memory)


def stays_on(device: torch.device, size: int) -> bool:
    """Whether so many bytes of features are little enough to lie on the model's device, and not on the host."""
    there = device_bytes(device)
    return there is None or size <= FEATURES * there


def in_portions(
    portions: Sequence[Tensor], work: Callable[[Tensor], Found], tell: Tell | None = None
) -> Iterator[tuple[Tensor, Found]]:
    """What ``work`` makes of this process' share of some questions.

    Where memory runs out, that portion and all later ones are done in halves; what was found before stays.

    Args:
        portions: question numbers (b,) each.
        work: on the questions of these numbers.
        tell: is told, in a line, when portions get smaller.

    Raises:
        EosError: not even one question fits.
    """
    waiting = list(group().share(portions))
    most = max(map(len, waiting), default=1)
    while waiting:
        index_b = waiting.pop(0)
        if len(index_b) > most:
            waiting[:0] = index_b.split(most)
            continue
        found = tried(lambda index_b=index_b: work(index_b))  # type: ignore[misc]
        if found is None:
            if len(index_b) == 1:
                raise EosError("out of memory with a single question: the model is too large for this device")
            most = (len(index_b) + 1) // 2
            waiting.insert(0, index_b)
            if tell is not None:
                tell(f"out of memory with {len(index_b)} questions asked at once; going on with {most}")
            continue
        yield index_b, found[0]


def tried(work: Callable[[], Found]) -> tuple[Found] | None:
    """What ``work`` gives; None: memory ran out, and what it held is free again."""
    try:
        return (work(),)
    except torch.OutOfMemoryError:
        pass
    free_memory()  # only here: the error holds the frames, and these the tensors
    return None
