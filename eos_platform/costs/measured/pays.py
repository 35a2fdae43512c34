"""Whether an operator pays: FLOPs saved are not time saved, and a table that shows a ratio says so in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from eos_platform.common.errors import EosError
from eos_platform.costs.amount import Amount, amount
from eos_platform.costs.device.known import elsewhere, profile_of
from eos_platform.costs.quantity import shown_cost, shown_quantity
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext

LEAST = 0.02  # of the unreduced time, that must be saved to count: less is within what measuring twice differs by
FURTHER = (4, 16)  # times the batch: where else it is looked for
PREFILL = "prefill_ms"


def pays(reduced: float, unreduced: float) -> bool:
    """Whether a time is shorter than the unreduced model's."""
    return reduced < (1 - LEAST) * unreduced


def not_paying(where: str, batch: int, times: Mapping[int, tuple[float, float]], source: str = "measured") -> str:
    """In words, that an operator does not pay, with the batch from which it does; empty: it does.

    Args:
        where: the device.
        batch: the size that is shown.
        times: milliseconds of the prefill with the operator and without, by batch size; ``batch`` among them.
        source: how they are known.
    """
    reduced, unreduced = times[batch]
    if pays(reduced, unreduced):
        return ""
    said = f"does not pay on {where} at batch {batch}: prefill {reduced:.4g} ms, unreduced {unreduced:.4g} ms"
    paying = [size for size in sorted(times) if size > batch and pays(*times[size])]
    larger = [size for size in sorted(times) if size > batch]
    if paying:
        return f"{said}; it does from batch {paying[0]} on ({source})"
    if larger:
        return f"{said}; nor at batch {', '.join(map(str, larger))} ({source})"
    return f"{said} ({source})"


def told(context: CostContext, operator: OperatorSpec, known: tuple[float, float] | None = None) -> str:
    """The same of an operator, measured at larger batches only where it does not pay at the setting's.

    With a profile of a device that is not here, at all batch sizes of the profile.

    Args:
        known: the times with the operator and without at the setting's batch size, if they are.

    Raises:
        EosError: the prefill cannot be measured, or predicted, here.
    """
    batch = context.setting.batch
    device = elsewhere(context)
    times = {batch: known or _both(context, operator, batch)}
    if not pays(*times[batch]):
        for size in _larger(context, batch):
            times[size] = _both(context, operator, size)
            if pays(*times[size]):
                break
    where = device or f"this {context.model.device.type}"
    return not_paying(where, batch, times, "predicted" if device else "measured")


def prefill_amounts(context: CostContext, operator: OperatorSpec) -> tuple[Amount, Amount] | None:
    """The prefill's time with an operator and without; None where it can be neither measured nor predicted here."""
    try:
        return amount(COSTS[PREFILL], context, operator), amount(COSTS[PREFILL], context, None)
    except EosError:
        return None


def time_lines(context: CostContext, operator: OperatorSpec) -> Iterator[str]:
    """The prefill's time beside a compute ratio, and whether the operator does not pay, a line each; none where it can
    be neither measured nor predicted here."""
    both = prefill_amounts(context, operator)
    if both is None:
        return
    reduced, unreduced = both
    mark = f", {reduced.mark}" if reduced.mark else ""
    whole = shown_quantity(unreduced.value, COSTS[PREFILL])
    yield f"{shown_cost(reduced.value, COSTS[PREFILL])}{mark} (unreduced {whole})"
    if words := told(context, operator, (reduced.value, unreduced.value)):
        yield f"note: {operator.name or 'the operator'} {words}"


def _larger(context: CostContext, batch: int) -> Sequence[int]:
    profile = profile_of(context.setting)
    if profile is not None and elsewhere(context):
        return sorted(size for mode, size in profile.settings() if mode == context.setting.mode and size > batch)
    return [batch * times for times in FURTHER]


def _both(context: CostContext, operator: OperatorSpec, batch: int) -> tuple[float, float]:
    at = replace(context, setting=replace(context.setting, batch=batch))
    reduced, unreduced = (amount(COSTS[PREFILL], at, one).value for one in (operator, None))
    return reduced, unreduced
