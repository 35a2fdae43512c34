"""The published schedules of every design on LLaVA-1.5-7B: what their nominal token counts compute.

    python -m eos_platform.analysis.baselines.published

Mean tokens are those entering the decoder layers. The two columns of TFLOPs count as the literature does: decoder
layers only, a multiply-add as one, of visual tokens alone and with 60 of text. The compute ratio counts as everything
here does: the whole prefill of the language model, the operator's own cost included.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from rich.table import Table

from eos_platform.common import console as terminal
from eos_platform.costs.flops import DecoderShape, compute_ratio, layer_flops
from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.operators.spec import OperatorSpec

SHAPE = DecoderShape(layers=32, hidden=4096, heads=32, kv_heads=32, head_dim=128, intermediate=11008, vocab=32064)
TEXT = 60


class Published(NamedTuple):
    """One published schedule."""

    design: str
    nominal: int  # what its authors call the number of tokens
    operator: OperatorSpec
    counts: str  # "2x576 30x165": so many layers with so many tokens
    tera: float  # FLOPs as the literature counts them, / 1e12, of visual tokens alone
    tera_text: float  # and with those of the text
    ratio: float  # compute ratio


def published() -> Iterator[Published]:
    """Every published schedule, design by design, the largest first."""
    for name, design in DESIGNS.items():
        for nominal, build in sorted(design.published.items(), reverse=True):
            operator = build()
            counts = " ".join(f"{len(list(same))}x{count}" for count, same in groupby(operator.counts))
            ratio = compute_ratio(operator, SHAPE, TEXT)
            yield Published(name, nominal, operator, counts, tera(operator), tera(operator, TEXT), ratio)


def tera(operator: OperatorSpec, text_tokens: int = 0) -> float:
    """FLOPs of the decoder layers as the literature counts them, / 1e12."""
    return sum(layer_flops(SHAPE, count + text_tokens) for count in operator.counts) / 2 / 1e12


def main() -> None:
    table = Table("design", "nominal", "layers x tokens", box=None, pad_edge=False)
    for column in ("mean\ntokens", "visual\nTFLOPs", f"with {TEXT}\nof text", "compute\nratio"):
        table.add_column(column, justify="right")
    table.add_column("counts from")
    for one in published():
        numbers = (f"{one.operator.mean_tokens:.1f}", f"{one.tera:.3f}", f"{one.tera_text:.3f}", f"{one.ratio:.3f}")
        source = str(one.operator.provenance.get("counts", "its authors"))
        table.add_row(one.design, str(one.nominal), one.counts, *numbers, source)
    console = terminal.console()
    console.print(table)
    silent = [name for name in suited() if not DESIGNS[name].published]
    console.print(f"no counts published: {', '.join(silent)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    terminal.run(main)
