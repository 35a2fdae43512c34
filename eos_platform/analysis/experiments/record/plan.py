"""What is to be measured: models, benchmarks, numbers of tokens, published scores."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, explain, unknown
from eos_platform.common.files import read_text, shown_path
from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.tasks.registry import BENCHMARKS

Count = Annotated[int, Field(ge=1, strict=True)]
Size = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Searched(_Strict):
    """What operators are searched on; pictures of a benchmark are left out of it."""

    folder: str = "search"
    data: str
    rows: Count
    questions: Count
    steps: Annotated[int, Field(ge=4, strict=True)]
    batch_size: Count = 64
    validation: Count = 1024
    portfolio: bool = True
    download: str = ""
    gigabytes: Size = 0.0


class Asked(_Strict):
    """A benchmark: how many questions it has, and how many of them are asked (None: all)."""

    questions: Count
    limit: Count | None = None
    part: str = ""
    download: str = ""
    gigabytes: Size = 0.0


class Known(_Strict):
    """A score that somebody published for the unreduced model, and how far from it is near enough."""

    value: float
    within: Annotated[float, Field(gt=0)]


class Best(_Strict):
    """Per cent of the unreduced model that somebody published at so many tokens."""

    value: float
    source: str


class Table(_Strict):
    """A published table of designs: per cent of the unreduced model, by design and number of tokens."""

    source: str
    values: dict[str, dict[str, float]]


class Modelled(_Strict):
    """A model."""

    download: str
    gigabytes: Size = 0.0
    chat: str = ""
    visual_tokens: Count | None = None
    benchmarks: tuple[str, ...]
    parts: dict[str, str] = {}
    published: dict[str, Known] = {}
    source: str = ""
    to_beat: dict[str, Best] = {}
    designs: dict[str, Table] = {}

    def known(self, operator: str) -> str:
        """What is published of an operator ``DESIGN-TOKENS``, with the letters of the tables."""
        design, _, tokens = operator.rpartition("-")
        values = {letter: one.values.get(design, {}).get(tokens) for letter, one in self.designs.items()}
        return ", ".join(f"{value:g} {letter}" for letter, value in values.items() if value is not None)


class Plan(_Strict):
    """All of it."""

    tokens: tuple[Count, ...]
    search: Searched
    benchmarks: dict[str, Asked]
    models: dict[str, Modelled]
    designs: tuple[str, ...] = suited()

    def part(self, model: str, benchmark: str) -> str:
        """Which part of a benchmark a model is asked."""
        return self.models[model].parts.get(benchmark, self.benchmarks[benchmark].part)


def load_plan(path: Path | None = None) -> Plan:
    """A plan's file; None: the pinned one.

    Raises:
        EosError: no such file, not of this form, or a benchmark or design that there is not.
    """
    if path is None:
        where, text = "the pinned plan", resources.files(__package__).joinpath("plan.json").read_text("utf-8")
    else:
        where, text = shown_path(path), read_text(path, "plan")
    data: Any = strict_json.loads(text, where)
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        raise explain(error, where) from None
    names = [one.name for one in BENCHMARKS]
    for name in plan.benchmarks:
        if name not in names:
            raise EosError(f"{where}: {unknown('benchmark', name, names)}")
    for name in plan.designs:
        if name not in DESIGNS:
            raise EosError(f"{where}: {unknown('design', name, DESIGNS)}")
    for model, one in plan.models.items():
        for name in (name for table in one.designs.values() for name in table.values):
            if name not in DESIGNS:
                raise EosError(f"{where}: models.{model}: {unknown('design', name, DESIGNS)}")
        for name in (*one.benchmarks, *one.published, *one.parts):
            if name not in plan.benchmarks:
                raise EosError(f"{where}: models.{model}: {unknown('benchmark', name, plan.benchmarks)}")
    return plan
