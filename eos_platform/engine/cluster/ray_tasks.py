"""What several Ray tasks give, as they end."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import ray

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError


def as_they_end(tasks: Iterable[Any], during: str) -> Generator[Any, None, None]:
    """Results of tasks that were begun, in the order in which they are done.

    Args:
        tasks: references to their results. Those left when a task fails, or
            when this is closed, are stopped.
        during: what dies with a worker, for the message.

    Raises:
        EosError: a task did, or its worker died once too often.
    """
    open_ = list(tasks)
    try:
        while open_:
            (done, *_), open_ = ray.wait(open_, num_returns=1)
            yield ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EosError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise EosError(f"a worker died during {during}: {error_text(error)}") from None
    finally:
        for reference in open_:
            ray.cancel(reference, force=True)
