"""A load test: requests that come as fast as others are done, on an engine in this process.

No network: what is timed is the engine, from a request's arrival to its tokens, its picture prepared beforehand or not
(repeated pictures come out of the engine's own caches). Every run begins with empty caches and a request that does not
count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import mean, median
from typing import Any

from eos_platform.serve.sides import Asked

Step = Callable[[], None]


@dataclass
class Flight:
    """A request under way. Attributes: when it came, when its tokens did."""

    began: float
    tokens: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """What one run measured.

    Attributes:
        requests: a second.
        first_ms: median time to the first token.
        between_ms: mean time between tokens of an answer.
        cache: largest share of the key-value cache in use.
        tokens: of a prompt, mean.
    """

    requests: float
    first_ms: float
    between_ms: float
    cache: float
    tokens: float

    def row(self) -> dict[str, float]:
        """For a table."""
        return dict(vars(self))


def run(llm: Any, asked: Sequence[Asked], at_once: int, new: int) -> Load:
    """Ask all, ``at_once`` at any time, ``new`` tokens each.

    Args:
        llm: a ``vllm.LLM`` whose engine is in this process.
        asked: prompts.
        at_once: requests under way.
        new: tokens of every answer.
    """
    from vllm import SamplingParams

    llm.reset_prefix_cache()
    llm.reset_mm_cache()
    llm.reset_encoder_cache()
    engine, settings = llm.llm_engine, SamplingParams(temperature=0, max_tokens=new, ignore_eos=True)
    scheduler = engine.engine_core.engine_core.scheduler
    names, waiting = count(), list(asked)
    flights: dict[str, Flight] = {}
    done: list[Flight] = []
    used, lengths = 0.0, []
    start = time.perf_counter()
    while waiting or flights:
        while waiting and len(flights) < at_once:
            name = f"load-{next(names)}"
            flights[name] = Flight(time.perf_counter())
            engine.add_request(name, waiting.pop(0).for_vllm(), settings)
        for output in engine.step():
            name = _base(output.request_id, flights)
            flight = flights[name]
            flight.tokens.append(time.perf_counter())
            if output.finished:
                lengths.append(len(output.prompt_token_ids))
                done.append(flights.pop(name))
        used = max(used, float(scheduler.kv_cache_manager.usage))
    return summed(done, time.perf_counter() - start, used, mean(lengths))


def _base(name: str, flights: dict[str, Flight]) -> str:
    """The engine may add to a name."""
    return name if name in flights else next(one for one in flights if name.startswith(one + "-"))


def summed(done: Sequence[Flight], seconds: float, used: float, tokens: float) -> Load:
    """What requests that are done say together."""
    gaps = [b - a for one in done for a, b in zip(one.tokens, one.tokens[1:], strict=False)]
    return Load(
        requests=len(done) / seconds,
        first_ms=1e3 * median(one.tokens[0] - one.began for one in done),
        between_ms=1e3 * mean(gaps) if gaps else 0.0,
        cache=used,
        tokens=tokens,
    )


def repeated(asked: Sequence[Asked], many: int, pictures: int) -> list[Asked]:
    """So many prompts about few pictures, several questions each, as far as there are."""
    first = list(dict.fromkeys(id(one.images[0]) for one in asked))[:pictures]
    some = [one for one in asked if id(one.images[0]) in first]
    return [some[number % len(some)] for number in range(many)]


def different(asked: Sequence[Asked], many: int) -> list[Asked]:
    """So many prompts, each about a picture of its own.

    Raises:
        ValueError: there are not so many pictures.
    """
    by_picture: dict[int, Asked] = {}
    for one in asked:
        by_picture.setdefault(id(one.images[0]), one)
    if len(by_picture) < many:
        raise ValueError(f"{len(by_picture)} pictures where {many} are needed")
    return list(by_picture.values())[:many]
