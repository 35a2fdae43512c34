"""What a comparison's files hold: the schema they are written with, and held against when they are read again."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eos_platform.analysis.comparison.settings import Settings
from eos_platform.analysis.stats.bitpack import unpack
from eos_platform.common import former_names
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, explain
from eos_platform.operators.spec import OperatorSpec

PNG = "data:image/png;base64,"
WIDEST = 4096  # pixels of an example picture, which has a few a token

Text = Annotated[str, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Side = Annotated[int, Field(ge=1, le=10_000)]


class _Strict(BaseModel):
    """Types as they were written: no text for a number. Keys of later versions are passed over."""

    model_config = ConfigDict(strict=True)


class Example(_Strict):
    """A picture to show kept tokens on, with the question asked about it."""

    question: Count
    skill: Text
    text: Text
    answer: Text
    grid: Annotated[list[Side], Field(min_length=2, max_length=2)]
    png: Annotated[str, Field(max_length=10_000_000)]

    @model_validator(mode="after")
    def _is_a_picture(self) -> Example:
        if not self.png.startswith(PNG):
            raise ValueError("png: not a PNG as a data URI")
        try:
            with Image.open(
                io.BytesIO(base64.b64decode(self.png[len(PNG) :], validate=True)), formats=["PNG"]
            ) as image:
                if max(image.size) > WIDEST:
                    raise ValueError(f"{image.size[0]}x{image.size[1]} pixels")
                image.load()
        except Exception as error:  # Pillow's decoders have no common error
            raise ValueError(f"png: not a small picture: {error_text(error)}") from None
        return self


class Header(_Strict):
    """``comparison.json``: what holds for every record."""

    uid: Annotated[str, Field(pattern=r"^[0-9a-z-]{1,64}$")]
    model: Text
    task: Text
    questions: Annotated[int, Field(ge=1, le=10_000_000)]
    batch: Annotated[int, Field(ge=1, le=4096)]
    device: Text
    dtype: Text
    torch: Text
    python: Text
    layers: Annotated[int, Field(ge=1, le=10_000)]
    grid: Annotated[list[Side], Field(min_length=2, max_length=2)]
    text_tokens: Count
    settings: dict[str, Any]
    samples: Count
    examples: Annotated[list[Example], Field(max_length=100)]

    @model_validator(mode="after")
    def _fits_together(self) -> Header:
        for number, example in enumerate(self.examples):
            if example.question >= self.questions:
                raise ValueError(f"examples.{number}.question: there are {self.questions} questions")
        Settings.of(**self.settings)
        return self


class Kept(_Strict):
    """Which tokens of a picture are there after a site."""

    place: Literal["tower", "decoder"]
    layer: Count
    origin: list[Count]
    size: list[Amount]

    @model_validator(mode="after")
    def _alike(self) -> Kept:
        if len(self.origin) != len(self.size):
            raise ValueError(f"{len(self.origin)} places and {len(self.size)} sizes")
        return self


class Tuning(_Strict):
    """How a design's hyperparameters were found."""

    accuracy: Share
    default_accuracy: Share | None
    trials: Count
    proposed: Count
    questions: Count
    seconds: Amount


class Search(_Strict):
    """How a searched operator was found."""

    settings: dict[str, Any]
    relaxed_accuracy: Share | None
    seconds: Amount


class Entry(_Strict):
    """A line of ``results.jsonl``: the place in the plan, and how it came about."""

    key: Text
    name: Text
    family: Literal["unreduced", "hand-designed", "searched"]
    variant: Literal["", "published", "tuned", "given"]
    design: Text
    ratio: Annotated[float, Field(gt=0.0, le=1.0)] | None
    seed: Count | None
    knobs: dict[Text, bool | int | float | Text | None]
    samples: Count


class Unreachable(Entry):
    """A ratio that a design cannot have."""

    status: Literal["unreachable"]
    reason: Text


class Measured(Entry):
    """A deployed operator, or the unreduced model."""

    status: Literal["measured"]
    accuracy: Share
    questions: Annotated[int, Field(ge=1, le=10_000_000)]
    per_skill: dict[Text, Share]
    correct: str
    compute_ratio: Positive
    flops: Positive
    counted_flops: Positive
    whole_model_ratio: Positive | None
    mean_tokens: Amount
    tokens_left: Count
    costs: dict[Text, float] = {}
    regime: Text
    prefill_ms: float | None = None
    memory_mb: float | None = None
    validation: Share | None = None
    seconds: Amount
    tuning: Tuning | None = None
    search: Search | None = None
    kept: list[list[Kept]]
    operator: dict[str, Any] | None

    @model_validator(mode="after")
    def _fits_together(self) -> Measured:
        try:
            right = unpack(self.correct, self.questions, strict=True)
        except (ValueError, binascii.Error):
            raise ValueError(f"correct: not the answers to {self.questions} questions") from None
        if abs(right.mean() - self.accuracy) > 1e-6:
            raise ValueError(f"accuracy: {self.accuracy:.4g}, of answers of which {right.mean():.4g} are right")
        if self.operator is None:
            return self
        tokens = OperatorSpec.of(self.operator, "operator").target.tokens
        for sites in self.kept:
            if any(place >= tokens for site in sites for place in site.origin):
                raise ValueError(f"kept: a place beyond the {tokens} tokens of a picture")
        return self


def check_header(data: Any, where: str) -> dict[str, Any]:
    """``data`` under today's names, if it is a comparison's header.

    Raises:
        EosError: ``where`` is none, and why.
    """
    return _check(Header, data, where, "a comparison's header")


def check_record(data: Any, where: str) -> dict[str, Any]:
    """``data`` under today's names, if it is a record.

    Raises:
        EosError: ``where`` is none, and why.
    """
    measured = isinstance(data, dict) and data.get("status") != "unreachable"
    return _check(Measured if measured else Unreachable, data, where, "a record of a comparison")


def _current(data: dict[str, Any]) -> dict[str, Any]:
    """Under today's names: the settings of searches, and how tuning is reported."""
    made = dict(data)
    for part in ("settings", "search"):
        if isinstance(data.get(part), dict):
            inner = "search" if part == "settings" else "settings"
            if inner in data[part]:
                made[part] = {**data[part], inner: former_names.SEARCH.current(data[part][inner])}
    if "tuning" in data:
        made["tuning"] = former_names.TUNING.current(data["tuning"])
    return data if made == data else made


def _check(kind: type[_Strict], data: Any, where: str, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise EosError(f"{where}: not {what}")
    try:
        data = _current(data)
        kind.model_validate(data)
    except ValidationError as error:
        raise explain(error, f"{where}: not {what}") from None
    except EosError as error:
        raise EosError(f"{where}: not {what}: {error}") from None
    return data
