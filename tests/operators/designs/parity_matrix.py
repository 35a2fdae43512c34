"""Every design against a plain reading of its method, as a table: same tokens kept, largest difference, schedules.

    python tests/operators/designs/parity_matrix.py               # 100 pictures a design, a minute or two of a core
    python tests/operators/designs/parity_matrix.py --cases 20 --designs prunesid,scope --big

Pictures are random, of five small grids and any count, one in three of them full of ties (for the first site; not for
the two methods where ties are left to chance); ``--big`` adds one of 576 tokens at the published counts. The plain
readings are the loops beside this file, in float64; they read what the methods' papers and code say, and share no code
with the operators. What no plain reading covers (the controls) has tests of its own. It ends with 1 where anything but
rounding differs.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
import torch
from plain import Picture
from test_parity import METHODS, NO_TIES, WIDTH, Scene, deployed

from eos_platform.operators.designs import DESIGNS, LLAVA
from eos_platform.operators.spec import Target

GRIDS = ((6, 8), (5, 5), (3, 5), (1, 7), (1, 2))
LARGEST = 1e-5


class Row:
    """What was found of one design."""

    def __init__(self, name: str) -> None:
        self.name, self.cases, self.alike, self.apart, self.sizes = name, 0, 0, 0.0, 0.0

    def add(self, operator, scene, first_only=False):
        """One picture more."""
        sites = operator.sites[:1] if first_only else operator.sites
        picture = Picture.of(scene.tokens(operator.arriving))
        for stage, site in enumerate(sites):
            picture = METHODS[self.name](site, picture, scene.given(stage, len(picture)))
        tokens = deployed(operator.model_copy(update={"sites": sites}), scene)
        self.cases += 1
        if tokens.origin_bn[0].tolist() != picture.place:
            return
        self.alike += 1
        expected = torch.from_numpy(np.array(picture.x).reshape(len(picture), WIDTH))
        if len(picture):
            scale = float(expected.abs().max().clamp_min(1))
            self.apart = max(self.apart, float((tokens.x_bnd[0].double() - expected).abs().max()) / scale)
            size = torch.tensor(picture.size).double()
            self.sizes = max(self.sizes, float(((tokens.size_bn[0].double() - size) / size).abs().max()))

    @property
    def holds(self) -> bool:
        """Whether all is as described but for rounding."""
        return self.alike == self.cases and max(self.apart, self.sizes) <= LARGEST


def measured(name: str, cases: int, big: bool) -> Row:
    """One design."""
    row, draw = Row(name), random.Random(name)
    for number in range(cases):
        target = Target(layers=8, grid=draw.choice(GRIDS), vision_layers=5)
        operator = DESIGNS[name].build(target, 1 + draw.random() * (target.tokens - 1.01))
        ties = number % 3 == 0 and name not in NO_TIES
        row.add(operator, Scene(number, ties), first_only=ties)
    for make in DESIGNS[name].published.values() if big else ():
        row.add(make(), Scene(7))
    return row


def schedule(name: str) -> str:
    """The published counts, and the mean that enters the layers of LLaVA-1.5-7B."""
    found = []
    for nominal, make in DESIGNS[name].published.items():
        operator = make()
        counts = "/".join(str(site.keep) for site in operator.sites[-3:])
        found.append(f"{nominal}: {counts} ({operator.mean_tokens:.1f})")
    return ", ".join(found) or "none"


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--designs", default=",".join(METHODS))
    parser.add_argument("--big", action="store_true", help="also 576 tokens at the published counts")
    given = parser.parse_args()
    head = f"{'design':14}{'cases':>6}{'same kept':>10}{'tokens':>10}{'sizes':>10}"
    print(f"{head}  published: counts at the last sites (mean entering the layers of {LLAVA.model})")
    wrong = False
    for name in given.designs.split(","):
        row = measured(name, given.cases, given.big)
        wrong = wrong or not row.holds
        print(
            f"{name:14}{row.cases:>6}{row.alike:>10}{row.apart:>10.1e}{row.sizes:>10.1e}  {schedule(name)}", flush=True
        )
    return int(wrong)


if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(main())
