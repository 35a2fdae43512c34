"""Times of a sample of points, and the device profile by which all are predicted on a CPU.

The sample is drawn by the points' coordinates, the same wherever it is measured. What is there is not measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from eos_platform.bench.profiling.drawn import alone
from eos_platform.benchmark.make.asked import Asked
from eos_platform.benchmark.make.places import PLACES, measured, profile
from eos_platform.benchmark.make.shards import Shard, read
from eos_platform.benchmark.make.work import hash_of, key_of
from eos_platform.benchmark.space import Space
from eos_platform.operators.spec import OperatorSpec

TIMES, SAMPLE = "times", 200
MODEL = "bundled-small"  # whose points are timed
CPU_PROFILE = "bundled-small-cpu.json"


def sample(asked: Asked, count: int) -> list[tuple[tuple[int, ...], OperatorSpec]]:
    """Points of a model to be timed, half of them designs; none that acts or reads in the vision tower."""
    found = []
    whole = Space(asked.operators.knobs)
    for family, share in (("composed", count - count // 2), ("design", count // 2)):
        of_family = [whole.canonical(config) for config in Space(whole.designs, (family,)).points()]
        mine = sorted(((whole.indices(config), config) for config in of_family), key=lambda one: hash_of(one[0]))
        made = ((at, asked.operators.of(config)) for at, config in mine)
        taken = ((at, operator) for at, operator in made if alone(operator))
        found += [one for one, _ in zip(taken, range(share), strict=False)]
    return sorted(found, key=lambda one: hash_of(one[0]))


def measure(device: str, folder: Path, seconds: float, say: Callable[[str], None]) -> None:
    """Measure what time allows."""
    begun = time.monotonic()
    kind = "cuda" if device.startswith("cuda") else "cpu"
    if kind == "cpu":
        torch.set_num_threads(1)  # threads that wait for each other count as at work
        if not (folder / CPU_PROFILE).is_file():
            profile(PLACES["cpu"], "cpu", folder / CPU_PROFILE)
            say(f"the CPU's profile took {time.monotonic() - begun:.0f} s")
    done = {key_of(line) for line in read(folder, TIMES) if line["device"] == kind}
    chosen = [one for one in sample(Asked(MODEL, "cpu"), SAMPLE) if (MODEL, one[0], 0) not in done]
    named = {str(number): one for number, one in enumerate(chosen)}
    shard, count = Shard(folder, TIMES, kind), 0
    until = begun + seconds
    for name, ms in measured(PLACES[kind], [(name, one[1]) for name, one in named.items()], device, until):
        shard.add([{"model": MODEL, "at": list(named[name][0]), "steps": 0, "device": kind, "ms": ms}])
        count += 1
    say(f"{count} operators timed on {kind} in {time.monotonic() - begun:.0f} s")
