"""Times of a matrix's operators, measured where a place's device is this one.

Cells are measured side by side, which is no way to take times: this comes last, in one process, with nothing beside it.
The unreduced model and the operators of a place take turns, so that what else the machine does meets them all.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.hardware import Hardware
from eos_platform.analysis.transfer.places import Place
from eos_platform.analysis.transfer.plan import Settings, places_by_name
from eos_platform.analysis.transfer.store import Cells
from eos_platform.common import strict_json
from eos_platform.costs.device.known import elsewhere, profile_of
from eos_platform.costs.registry import measure
from eos_platform.operators.spec import OperatorSpec

ROUNDS = 3


def time_cells(
    settings: Settings, cells: Cells, device: str | None = None, notify: Callable[[str], None] | None = None
) -> None:
    """Add ``cost.measured`` to the records that lack it, place by place; those of devices elsewhere stay predicted.

    Args:
        settings: of the matrix.
        cells: what is measured so far.
        device: where to run; default: the GPU if there is one.
        notify: is told what is timed, a line a place.

    Raises:
        EosError: a model cannot be loaded, or a time not be had.
    """
    for name, place in places_by_name(settings).items():
        left = [one for one in cells.records.values() if one["place"] == name and _lacks_time(one)]
        if left and place.hardware is not None and not place.hardware.measured.deterministic:
            with _threads_of(place.hardware):
                _time(place, place.hardware, left, cells, device, notify)


def _lacks_time(record: Record) -> bool:
    return record["status"] == "measured" and "cost" in record and "measured" not in record["cost"]


def _time(
    place: Place,
    hardware: Hardware,
    records: list[Record],
    cells: Cells,
    device: str | None,
    notify: Callable[[str], None] | None,
) -> None:
    context = hardware.context(place.load(device))
    if elsewhere(context):
        return
    operators: dict[str, OperatorSpec | None] = {}
    for record in records:  # many are the same operator
        found = record["operator"]
        operators[_key(record)] = None if found is None else OperatorSpec.model_validate(found)
    if notify is not None:
        notify(f"{place.name}: timing {len(operators)} operators")
    taken: dict[str, list[float]] = {key: [] for key in operators}
    for _ in range(ROUNDS):
        for key, operator in operators.items():
            taken[key].append(measure(hardware.measured, context, operator))
    for record in records:
        cells.add(record | {"cost": record["cost"] | {"measured": statistics.median(taken[_key(record)])}})


def _key(record: Record) -> str:
    found = record["operator"]
    return "" if found is None else strict_json.dumps({**found, "name": "", "provenance": {}}, sort_keys=True)


@contextmanager
def _threads_of(hardware: Hardware) -> Iterator[None]:
    """As many threads as a processor's profile was measured with: with others it is another device."""
    profile, before = profile_of(hardware.setting), torch.get_num_threads()
    if profile is not None and profile.machine.threads:
        torch.set_num_threads(profile.machine.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
