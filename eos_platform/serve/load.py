"""A load test: requests that come as fast as others are done, on an engine in this process.

No network: what is timed is the engine, from a request's arrival to its tokens, preparing its picture included. Every
run begins with empty caches; repeated pictures come out of them as the engine has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.serve.arguments import served
from eos_platform.serve.sides import Asked, Attached, engine

UNREDUCED = "unreduced"
QUESTIONS = 14  # a picture, at most


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
    llm.llm_engine.reset_encoder_cache()
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
        EosError: there are not so many pictures.
    """
    by_picture: dict[int, Asked] = {}
    for one in asked:
        by_picture.setdefault(id(one.images[0]), one)
    if len(by_picture) < many:
        raise EosError(f"the task's questions are about {len(by_picture)} pictures; {many} are needed (--requests)")
    return list(by_picture.values())[:many]


def measure(
    model: str,
    operators: Sequence[str],
    at_once: Sequence[int],
    requests: int,
    new: int,
    tell: Callable[[str], None],
    repeats: int = 1,
) -> Iterator[dict[str, Any]]:
    """A row for each run: operator (the unreduced model first), number at once, and pictures repeated or not.

    A repeat begins with new engines, so that what else a machine does meanwhile meets all operators alike.

    Args:
        model: a bundled one, or a folder.
        operators: files.
        at_once: requests under way.
        requests: of a run.
        new: tokens of every answer.
        tell: what is done now.
        repeats: of everything.

    Raises:
        EosError: an operator cannot be served, or the task has not so many pictures.
    """
    found = [(name, served(model, name)) for name in (None, *operators)]  # all of it refused before any engine starts
    tell("questions")
    questions = Attached(model).questions(requests * QUESTIONS)
    few = repeated(questions, requests, max(1, requests // 8))
    loads = {"different": different(questions, requests), "repeated": few}
    for repeat in range(repeats):
        for name, one in found:
            title = f"{name or UNREDUCED}{f', {repeat + 1} of {repeats}' if repeats > 1 else ''}"
            tell(f"starting an engine: {title}")
            with engine(one) as llm:
                run(llm, loads["different"][: min(at_once)], min(at_once), new)  # does not count
                for pictures, asked in loads.items():
                    for many in at_once:
                        tell(f"{title}: {many} at once, pictures {pictures}")
                        about = {"operator": Path(name).stem if name else UNREDUCED, "repeat": repeat}
                        yield {**about, "pictures": pictures, "at once": many, **run(llm, asked, many, new).row()}


SAME = ("model", "operator", "pictures", "at once")  # of the runs that are repeats of each other
MEASURED = ("requests", "first_ms", "between_ms", "cache", "tokens")


def medians(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for all repeats of a run: the median of each number, ``repeats``, and ``least`` and ``most`` requests a
    second."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in SAME), []).append(row)
    found = []
    for some in groups.values():
        speeds = [row["requests"] for row in some]
        merged = {name: median(row[name] for row in some) for name in MEASURED}
        about = {name: value for name, value in some[0].items() if name not in (*MEASURED, "repeat")}
        found.append({**about, **merged, "repeats": len(some), "least": min(speeds), "most": max(speeds)})
    return found


def ratios(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How a row stands to the unreduced model's of the same load: requests a second, times and cache, each divided."""
    same = ("pictures", "at once")
    base = next(one for one in rows if one["operator"] == UNREDUCED and all(one[name] == row[name] for name in same))
    names = ("requests", "first_ms", "between_ms", "cache")
    return {name: row[name] / base[name] if base[name] else float("nan") for name in names}
