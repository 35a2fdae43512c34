"""A device profile: what one model was measured to take on one device, as a file.

It holds the measurements themselves, so that a better predictor can be fitted to an old file; what is fitted, and how
far off it is on operators it was not fitted to, is worked out when it is read.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, explain
from eos_platform.common.files import read_text, shown_path, write_atomic
from eos_platform.costs.device.former import FORMER, converted
from eos_platform.costs.device.machine import Machine
from eos_platform.costs.device.work import Work
from eos_platform.costs.shapes import DecoderShape

FORMAT: Literal["eos-device-profile-2"] = "eos-device-profile-2"
MODES = ("eager", "captured", "compiled")
MOST = 64 << 20  # bytes of a file
Mode = Literal["eager", "captured", "compiled"]
Kind = Literal["prefill", "operator", "decode", "encode"]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
WHO = ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate")  # sizes that make a model another one


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Data):
    """One thing that was measured, several times.

    Attributes:
        kind: a prefill without operator, with one, one step of decoding after a prefill, or pictures encoded.
        mode: as the model ran.
        batch: prompts at once.
        name: of the operator; empty for other kinds.
        work: of one prompt; of a decoding step: the lengths of the caches. Of pictures: none of it is said.
        held_out: nothing is fitted to it; it tells how far off predictions are.
        ms: milliseconds, each the median of a few runs, taken in turns with the other points.
        peak_bytes: held at most, beside what was held before; None where the device does not tell.
        joules: of one run; None where the device does not tell.
    """

    kind: Kind
    mode: Mode
    batch: int = Field(ge=1)
    name: str = Field(default="", max_length=200)
    work: Work
    held_out: bool = False
    ms: tuple[Positive, ...] = Field(max_length=1000)
    peak_bytes: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    joules: Positive | None = None

    @property
    def key(self) -> tuple[str, str, int, str, tuple[float, ...]]:
        """What it is of."""
        return self.kind, self.mode, self.batch, self.name, self.work.lengths

    @property
    def time(self) -> float:
        """Milliseconds."""
        return statistics.median(self.ms)


class Profiled(_Data):
    """The model that was measured.

    Attributes:
        name: as it was given.
        dtype: of its weights.
        attention: implementation.
        shape: of the decoder.
        grid: of the visual tokens in a prompt.
        text: tokens of a prompt that are not visual, as it was measured.
    """

    name: str = Field(max_length=500)
    dtype: str = Field(max_length=50)
    attention: str = Field(max_length=100)
    shape: dict[str, int]
    grid: tuple[int, int]
    text: int = Field(ge=1)

    @model_validator(mode="after")
    def _has_sizes(self) -> Profiled:
        for name in WHO:
            if self.shape.get(name, 0) < 1:
                raise ValueError(f"shape: {name} must be a positive number")
        return self


class DeviceProfile(_Data):
    """A profile as its file has it; ``prediction`` fits it."""

    format: Literal["eos-device-profile-2"] = FORMAT
    machine: Machine
    model: Profiled
    points: tuple[Point, ...] = Field(max_length=10_000)
    seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)

    @classmethod
    def load(cls, path: str | Path) -> DeviceProfile:
        """Read a file.

        Raises:
            EosError: there is none, or it is no device profile.
        """
        where = shown_path(Path(path))
        data = strict_json.loads(read_text(path, "device profile", MOST), where)
        if not isinstance(data, dict) or data.get("format") not in (FORMER, FORMAT):
            raise EosError(f"{where}: not a device profile; eos profile --out FILE makes one")
        if data["format"] == FORMER:
            data = converted(data) | {"format": FORMAT}
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explain(error, where) from None

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all."""
        text = strict_json.dumps(self.model_dump(mode="json", exclude_defaults=True) | {"format": FORMAT}, indent=1)
        return write_atomic(path, text + "\n")

    def settings(self) -> list[tuple[Mode, int]]:
        """Modes and batch sizes that prefills were measured at."""
        return list(dict.fromkeys((point.mode, point.batch) for point in self.points if point.kind == "prefill"))

    def of(self, kind: Kind, mode: str | None = None, batch: int | None = None) -> list[Point]:
        """Points of a kind, shortest first."""
        points = [
            point
            for point in self.points
            if point.kind == kind and mode in (None, point.mode) and batch in (None, point.batch)
        ]
        return sorted(points, key=lambda point: sum(point.work.lengths))

    def check_model(self, shape: DecoderShape, dtype: Any = None) -> list[str]:
        """What is odd about using it for a model, in words.

        Raises:
            EosError: it is of a model of other sizes.
        """
        for name in WHO:
            was, now = self.model.shape[name], getattr(shape, name)
            if was != now:
                raise EosError(
                    f"the device profile is of '{self.model.name}', whose decoder has {was} {name.replace('_', ' ')};"
                    f" here are {now}: make one with eos profile --model"
                )
        now = str(dtype).removeprefix("torch.")
        if dtype is not None and now != self.model.dtype:
            return [f"the device profile is of weights in {self.model.dtype}; here they are {now}"]
        return []
