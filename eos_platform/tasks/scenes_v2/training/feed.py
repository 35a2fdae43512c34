"""Batches for a GPU that learns faster than the cores draw: while none is ready, earlier ones come again."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

APART = 32  # batches at least between a batch and its return
HELD = 200  # batches on the device


class Feed:
    """Batches on the device, each at most ``1 + again`` times, the oldest first."""

    def __init__(self, drawn: Iterator[dict[str, Tensor]], device: torch.device, again: int) -> None:
        self.device, self.again, self.fresh = device, again, 0
        self.pool: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=HELD)
        self.ready: queue.Queue[dict[str, Tensor] | BaseException] = queue.Queue(2)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._fetch, args=(drawn,), daemon=True)
        self.thread.start()

    def _fetch(self, drawn: Any) -> None:
        try:
            while not self.ended.is_set():
                self._offer(next(drawn))
        except BaseException as error:
            self._offer(error)
        if hasattr(drawn, "_shutdown_workers"):
            drawn._shutdown_workers()

    def _offer(self, what: dict[str, Tensor] | BaseException) -> None:
        while not self.ended.is_set():
            try:
                return self.ready.put(what, timeout=0.5)
            except queue.Full:
                continue

    def next(self, wanted: Callable[[dict[str, Tensor]], bool]) -> dict[str, Tensor]:
        """A new batch if there is one, else an earlier one; ``wanted``: may it come again?"""
        try:
            ready = self.ready.get(block=not self.again or len(self.pool) < APART)
        except queue.Empty:
            left, batch = self.pool.popleft()
            if left > 1:
                self.pool.append((left - 1, batch))
            return batch
        if isinstance(ready, BaseException):
            raise ready
        self.fresh += 1
        again = self.again > 0 and wanted(ready)
        batch = {key: value.to(self.device, non_blocking=True) for key, value in ready.items()}
        if again:
            self.pool.append((self.again, batch))
        return batch

    def close(self) -> None:
        self.ended.set()
        self.thread.join(timeout=15)
