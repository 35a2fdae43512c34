"""Operators of a table's rows, made again from coordinates and held against what was asked."""

from __future__ import annotations

from eos_platform.benchmark.operators import Operators, digest
from eos_platform.benchmark.space import Config
from eos_platform.benchmark.table import ModelTable
from eos_platform.common.errors import EosError
from eos_platform.costs.shapes import DecoderShape
from eos_platform.operators.spec import OperatorSpec, Target


def rebuilt(table: ModelTable, config: Config, row: int) -> OperatorSpec:
    """The operator of a row.

    Raises:
        EosError: this version makes another of its coordinates.
    """
    if row in table.operators:
        return OperatorSpec.from_json(table.operators[row], f"row {row}")
    about = table.about
    target = Target.model_validate(about["target"])
    made = Operators(
        table.model, target, DecoderShape(**about["shape"]), int(about["text_tokens"]), table.space.designs
    )
    operator = made.of(config)
    if digest(operator) != table.digests[row]:
        what = config["design"] if config["family"] == "design" else config["family"]
        raise EosError(
            f"row {row} of {table.model}: '{what}' is built otherwise than when it was asked: another version"
        )
    return operator
