"""What the shards hold: answers by point, operators that searches have found, times."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from eos_platform.benchmark.make.asked import BLOCK
from eos_platform.benchmark.make.shards import read
from eos_platform.benchmark.make.times import TIMES
from eos_platform.benchmark.make.work import ANSWERS, SEARCHED, Key, key_of
from eos_platform.common.errors import EosError


@dataclass
class Collected:
    """Everything by model, coordinates and steps; the unreduced model has no coordinates.

    Attributes:
        right: bits of the questions answered rightly, by block.
        digests: of the operators that were asked.
        operators: JSON of those that searches have found.
        times: milliseconds by device.
    """

    right: dict[Key, dict[int, bytes]] = field(default_factory=dict)
    digests: dict[Key, str] = field(default_factory=dict)
    operators: dict[Key, str] = field(default_factory=dict)
    times: dict[str, dict[Key, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Collected:
        """Read a folder of shards.

        Raises:
            EosError: a point was asked twice with other operators, or with fewer questions than a block has.
        """
        found = cls()
        for line in read(folder, SEARCHED):
            if found.operators.setdefault(key_of(line), str(line["operator"])) == line["operator"]:
                found.digests[key_of(line)] = str(line["digest"])
        for line in read(folder, ANSWERS):
            key = key_of(line)
            if line["asked"] != BLOCK:
                raise EosError(
                    f"{folder}: a point was asked {line['asked']} questions; a table needs blocks of {BLOCK}"
                )
            if key[2] and found.digests.get(key) != line["digest"]:
                continue  # of a search that was stopped between its answers and its operators
            if found.digests.setdefault(key, line["digest"]) != line["digest"]:
                raise EosError(
                    f"{folder}: point {line['at']} of {key[0]} stands for two operators: made at two versions"
                )
            found.right.setdefault(key, {})[int(line["block"])] = base64.b64decode(line["right"])
        for line in read(folder, TIMES):
            found.times.setdefault(str(line["device"]), {})[key_of(line)] = float(line["ms"])
        return found


def counted(folder: Path) -> list[str]:
    """How much there is, in lines."""
    found = Collected.of(folder)
    blocks: Counter[tuple[str, str, int]] = Counter()
    for (model, at, steps), right in found.right.items():
        kind = "unreduced" if not at else "snapshots of searches" if steps else "points"
        for block in right:
            blocks[model, kind, block] += 1
    lines = [
        f"{model:18} {kind:22} questions {BLOCK * block:>5} on: {n:>6}"
        for (model, kind, block), n in sorted(blocks.items())
    ]
    lines += [f"{len(times)} operators timed on {device}" for device, times in sorted(found.times.items())]
    return lines or [f"{folder} holds nothing yet"]
