"""Work recorded as a CUDA graph, to be played back without its launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

WARM_UP = 3


def captured(work: Callable[[], Any]) -> Callable[[], None]:
    """``work`` recorded as a CUDA graph; calling the result replays it.

    Raises:
        RuntimeError: it waits for the device, or does something else that cannot be recorded.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = work()

    def replay() -> None:
        graph.replay()
        _ = kept  # what it writes to lives as long as it

    return replay
