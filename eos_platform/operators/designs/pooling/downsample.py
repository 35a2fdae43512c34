"""Downsampling: the vision tower sees a smaller picture.

Source: as a control in Liao et al., "Are We Using the Right Benchmark: An Evaluation Framework for Visual Token
Compression Methods", arXiv 2510.07143.

Parameters: ``image``, the grid of tokens that the shrunk picture makes; no sites. Pixels are averaged over areas and
the tower's position embeddings interpolated.

Deviations: tokens stand where their part of the picture is in the full grid (a model of one resolution would number
them from zero). Counts are those of grids at most twice as stretched as the model's (knob ``stretch``), so what is
built may be a few tokens below what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Draft, Knob
from eos_platform.operators.designs.schedule import shape_within
from eos_platform.operators.spec import Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> Draft:
    return Draft(image=shape_within(target.grid, tokens, knobs["stretch"]))


DOWNSAMPLE = Design(
    "downsample",
    "pool",
    "Liao et al., arXiv 2510.07143",
    "shrinks the picture",
    _make,
    lambda target: (Knob("stretch", 2.0, 1.0, 3.0),),
    coarse=True,
)
