"""Time operators on one model: each beside the unreduced model and beside its own lower bound."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from eos_platform.bench.operators import of_any_size, operators_for
from eos_platform.bench.timing import Way, captured, peak_mb, ratio, rounds
from eos_platform.bench.work import Bench
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec

Row = dict[str, Any]
MODES = ("eager", "captured", "compiled")  # captured: as a CUDA graph; compiled: that, and sites fused beforehand


@dataclass(frozen=True)
class Plan:
    """What to time."""

    operators: list[str]
    tokens: list[float]  # mean visual tokens a layer
    batches: list[int]
    text: int = 60
    new: int = 64  # tokens generated, for the throughput
    repeats: int = 20
    modes: tuple[str, ...] = ("eager", "captured")
    decode: bool = True

    @property
    def measurements(self) -> int:
        """How many rows there will be."""
        return len(self.batches) * (1 + sum(len(self.named(tokens)) for tokens in self.tokens))

    def named(self, tokens: float) -> list[str]:
        """The operators to time at a number of tokens: those with a number of their own once, at the first."""
        return [name for name in self.operators if tokens == self.tokens[0] or of_any_size(name)]


def bench(
    model: Any, grid: tuple[int, int], plan: Plan, notify: Callable[[str], None] = lambda _: None
) -> Iterator[Row]:
    """Rows as they are measured: the unreduced model first, at every batch.

    Args:
        model: a Hugging Face model with no operator attached.
        grid: rows and columns of the visual tokens in a prompt.
        notify: what is being timed.

    Raises:
        EosError: an operator that is none, or does not fit.
    """
    first = Bench.of(model, grid, 1, plan.text)
    width = first.x_bsd.shape[-1]
    operators = [
        (tokens, name, operator)
        for tokens in plan.tokens
        for name, operator in operators_for(plan.named(tokens), first.target, tokens, width)
    ]
    for _, _, operator in operators:  # an operator that does not fit is an error before anything is timed
        with first.reading(operator):
            pass
    for batch in plan.batches:
        setup = Bench.of(model, grid, batch, plan.text)
        modes = [mode for mode in plan.modes if mode == "eager" or setup.device.type == "cuda"]
        whole = {"batch": batch, "text": plan.text, "visual": setup.target.tokens}
        with torch.inference_mode():
            notify(f"unreduced, batch {batch}")
            memory = peak_mb(setup.prefill, setup.device)
            shared = {**whole, "operator": "unreduced", "tokens": setup.target.tokens, "memory_mb": memory}
            encode = _encoding(setup, plan)
            yield _until_first(shared | _unreduced(setup, plan, modes), encode)
            for requested, name, operator in operators:
                notify(f"{name} at {operator.mean_tokens:.0f} tokens, batch {batch}")
                row = {**whole, "operator": name, "requested_tokens": requested, "tokens": operator.mean_tokens}
                seen = setup.encoded_with(operator)
                reads = OperatorPlan.of(operator).tower_features
                first_token = _encoding(seen, plan, operator) if reads else encode
                yield _until_first(row | _compared(seen, operator, plan, modes), first_token)


def _unreduced(setup: Bench, plan: Plan, modes: Sequence[str]) -> Row:
    row: Row = {}
    for mode in modes:
        if mode == "compiled":  # nothing to fuse
            continue
        ways = {"it": _way(mode, nullcontext, setup.prefill)}
        row[f"{mode}_prefill_ms"] = statistics.median(rounds(ways, setup.device, plan.repeats)["it"])
        if plan.decode:
            row[f"{mode}_decode_ms"] = _decoding(setup, plan, mode)
    return row | _throughput(row, setup, plan)


def _compared(setup: Bench, operator: OperatorSpec, plan: Plan, modes: Sequence[str]) -> Row:
    """One operator, in turns with the unreduced model and its lower bound."""
    row: Row = {}
    with setup.reduced(operator):
        row["memory_mb"] = peak_mb(setup.prefill, setup.device)
    short = setup.shortened(operator.counts)
    for mode in modes:
        ways = {
            "unreduced": _way(mode, nullcontext, setup.prefill),
            "lower bound": _way(mode, lambda: setup.lower_bound(operator.counts), short.prefill),
            "deployed": _way(mode, lambda: setup.reduced(operator, mode == "compiled"), setup.prefill),  # noqa: B023
        }
        times = rounds(ways, setup.device, plan.repeats)
        row[f"{mode}_prefill_ms"] = statistics.median(times["deployed"])
        row[f"{mode}_bound_ms"] = statistics.median(times["lower bound"])
        row[f"{mode}_over_bound"] = ratio(times["deployed"], times["lower bound"])
        row[f"{mode}_speedup"] = ratio(times["unreduced"], times["deployed"])
        row[f"{mode}_own_ms"] = statistics.median(
            deployed - bound for deployed, bound in zip(times["deployed"], times["lower bound"], strict=True)
        )
        if plan.decode and mode != "compiled":  # sites have no part in decoding
            with setup.reduced(operator):
                row[f"{mode}_decode_ms"] = _decoding(setup, plan, mode)
    return row | _throughput(row, setup, plan)


def _encoding(setup: Bench, plan: Plan, operator: OperatorSpec | None = None) -> float | None:
    """Milliseconds of vision tower and projector, eager, and of what an operator of the decoder reads there."""
    if setup.encode() is None:
        return None
    ways = {"it": Way(setup.encode, nullcontext if operator is None else lambda: setup.reading(operator))}
    return statistics.median(rounds(ways, setup.device, plan.repeats)["it"])


def _until_first(row: Row, encode: float | None) -> Row:
    """With the time to the first token: encoding the picture, and the prefill."""
    if encode is not None:
        row["encode_ms"] = encode
        for mode in MODES:
            if f"{mode}_prefill_ms" in row:
                row[f"{mode}_first_token_ms"] = encode + row[f"{mode}_prefill_ms"]
    return row


def _way(mode: str, around: Callable[[], AbstractContextManager[Any]], run: Callable[[], Any]) -> Way:
    """As it is; or recorded, when what stood around it has done its part and need not be there any more."""
    if mode == "eager":
        return Way(run, around)
    with around():
        return Way(captured(run))


def _decoding(setup: Bench, plan: Plan, mode: str) -> float:
    """Milliseconds of one decoding step after a prefill; the cache grows by a token with each eager one."""
    cache = setup.prefill()[1]
    way = _way(mode, nullcontext, lambda: setup.decode(cache))
    return statistics.median(rounds({"it": way}, setup.device, plan.repeats)["it"])


def _throughput(row: Row, setup: Bench, plan: Plan) -> Row:
    """Answers a second: one prefill and ``new`` decoding steps, the batch at once."""
    throughput: Row = {}
    for mode in MODES:
        if f"{mode}_decode_ms" in row:
            total = row[f"{mode}_prefill_ms"] + plan.new * row[f"{mode}_decode_ms"]
            throughput[f"{mode}_answers_s"] = 1000 * len(setup.x_bsd) / total
    return throughput
