"""The table itself: one Parquet for all models, what its columns mean, and how it is read.

A row is a deployed operator on a model: its coordinates (null where a parameter does not count), which of the fixed
questions it answers rightly, a bit each, and what it costs. What a model's rows share stands in the file's metadata.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eos_platform.benchmark.space import FAMILIES, Knobs, Space
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.extras import needed
from eos_platform.common.files import check_regular, shown_path

SCHEMA, KEY = 1, b"operator_bench"
FILE = "operators.parquet"
# columns of numbers, and what they are
COSTS = {
    "compute_ratio": "prefill FLOPs of the language model with the operator, over those without",
    "kv_bytes": "of the key-value cache after the prefill of one typical prompt, 16-bit",
    "predicted_ms_h200": "prefill of one prompt on an H200 at the size of a LLaVA-1.5-7B, by a device profile",
    "predicted_ms_cpu": "prefill of 16 prompts of the model itself on one core of a CPU, by a device profile",
    "measured_ms_h200": "the same as predicted_ms_h200, measured; null where it was not",
    "measured_ms_cpu": "the same as predicted_ms_cpu, measured; null where it was not",
}


@dataclass(frozen=True)
class ModelTable:
    """All rows of one model.

    Attributes:
        model: its name.
        about: what the rows share, as the metadata has it.
        space: of all families.
        rows: by coordinates and steps of a search (0: none).
        right_rq: which questions each row answers rightly, bool.
        costs: a column each, NaN where it is not known.
        digests: of the operators.
        operators: JSON of those that searches have found, by row.
    """

    model: str
    about: Mapping[str, Any]
    space: Space
    rows: Mapping[tuple[tuple[int, ...], int], int]
    right_rq: NDArray[np.bool_]
    costs: Mapping[str, NDArray[np.float64]]
    digests: tuple[str, ...]
    operators: Mapping[int, str]

    @property
    def questions(self) -> int:
        """How many each operator was asked."""
        return int(self.right_rq.shape[1])

    @property
    def groups(self) -> tuple[str, ...]:
        """Of the questions."""
        return tuple(self.about["groups"])

    @property
    def group_q(self) -> NDArray[np.int64]:
        """The group of each question, by its place in ``groups``."""
        return np.asarray(self.about["group_of"])


def knobs_of(about: Mapping[str, Any]) -> dict[str, Knobs]:
    """The designs of a model and their knobs, as the metadata has them."""

    def one(given: Any) -> Any:
        return None if given is None else (str(given[0]), tuple(given[1]))

    return {name: Knobs(one(both["number"]), one(both["choice"])) for name, both in about["designs"].items()}


def metadata(path: str | Path | None = None) -> dict[str, Any]:
    """What the file says of itself: schema, licence, provenance, models.

    Args:
        path: of another table; default: the one that comes with the package.

    Raises:
        EosError: there is none, or it is no table of this schema.
    """
    parquet = needed("pyarrow.parquet", "data", "OperatorBench is a Parquet file")
    place = _place(path)
    try:
        found = parquet.read_schema(place).metadata or {}
    except Exception as error:
        raise EosError(f"{shown_path(place)}: not a Parquet file ({type(error).__name__})") from None
    if KEY not in found:
        raise EosError(f"{shown_path(place)}: a Parquet file, but not of OperatorBench")
    data: dict[str, Any] = strict_json.loads(found[KEY].decode(), shown_path(place))
    if data.get("schema") != SCHEMA:
        raise EosError(f"{shown_path(place)}: schema {data.get('schema')} of OperatorBench; {SCHEMA} is read here")
    return data


def _place(path: str | Path | None) -> Path:
    if path is not None:
        return check_regular(path, "table of OperatorBench")
    place = resources.files("eos_platform.benchmark.data").joinpath(FILE)
    return check_regular(Path(str(place)), "table of OperatorBench")


@lru_cache(maxsize=8)
def load(model: str, path: str | None = None) -> ModelTable:
    """The rows of a model.

    Raises:
        EosError: the table has no such model, or cannot be read.
    """
    about = metadata(path)
    if model not in about["models"]:
        raise unknown("model", model, about["models"])
    parquet = needed("pyarrow.parquet", "data", "OperatorBench is a Parquet file")
    # not by ``read_table`` and ``filter``, which import pandas
    every = parquet.ParquetFile(_place(path)).read()
    names = every.column("model").to_pylist()
    columns = every.slice(names.index(model), names.count(model)).to_pydict()  # a model's rows stand together
    mine = about["models"][model]
    space = Space(knobs_of(mine), FAMILIES)
    places = [_places(one, columns[one.name]) for one in space.parameters]
    rows = {
        (at, steps): row
        for row, (at, steps) in enumerate(zip(zip(*places, strict=True), columns["steps"], strict=True))
    }
    bits = np.frombuffer(b"".join(columns["right"]), np.uint8).reshape(len(rows), -1)
    return ModelTable(
        model=model,
        about=mine,
        space=space,
        rows=rows,
        right_rq=np.unpackbits(bits, axis=1, count=mine["questions"]).astype(bool),
        costs={name: np.array(columns[name], dtype=float) for name in COSTS},
        digests=tuple(columns["digest"]),
        operators={row: text for row, text in enumerate(columns["operator"]) if text is not None},
    )


def _places(parameter: Any, values: list[Any]) -> list[int]:
    known: dict[Any, int] = {choice: place for place, choice in enumerate(parameter.choices)}
    known[None] = 0  # it does not count
    return [known[value] for value in values]


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """Bits of some questions, as metadata and shards have them."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)
