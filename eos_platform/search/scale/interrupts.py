"""Ctrl-C during a search: the step that runs is finished and the state is kept, so that nothing is lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch

from eos_platform.tasks.together import Group


class Interrupts:
    """While it holds, Ctrl-C is a question that the search answers between two steps; a second one ends it at once.

    Args:
        keeps: whether there is a state to keep; otherwise nothing changes.
    """

    def __init__(self, keeps: bool) -> None:
        self._keeps = keeps
        self._came = False
        self._former: Any = None

    def __enter__(self) -> Interrupts:
        # signals reach the main thread alone, and whoever handles them in a way of his own is left to it
        mine = self._keeps and threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._former = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
            self._former = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True

    def asked(self, group: Group) -> bool:
        """Whether Ctrl-C was pressed, in any of the processes."""
        if group.size == 1:
            return self._came
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return bool(group.sum_(torch.tensor(float(self._came), device=device)))
