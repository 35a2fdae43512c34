"""The study file: YAML a person writes, read safely and checked to the last key before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from eos_platform import objectives as objective
from eos_platform.common import strict_yaml
from eos_platform.common.addresses import in_memory, masked, remember, secret
from eos_platform.common.errors import EosError, brief, explain, shown, unknown
from eos_platform.common.files import MEGABYTE, read_text, shown_path
from eos_platform.common.former_names import current_path, current_study
from eos_platform.common.printable import check_characters
from eos_platform.common.sizes import SIZE, parse_bytes
from eos_platform.common.strict_types import Flag, Int, Real
from eos_platform.costs.registry import COSTS
from eos_platform.engine.schema.safe_yaml import parse
from eos_platform.engine.schema.sections import Constraints, Sampler, Scheduler, Section, WarmStart
from eos_platform.engine.schema.space import Dimension, check_space
from eos_platform.engine.schema.study_checks import check_together
from eos_platform.protocols import Objective, Setting
from eos_platform.search.config import SearchConfig
from eos_platform.tasks.choice import checked, default_for

OBJECTIVES = {one.metric: str(one.direction) for one in objective.DEFAULT}
LONGEST = 100  # characters of a name
RESERVED = ("mlflow.db", "mlflow-artifacts")  # beside the studies in the runs folder


class Resources(Section):
    """What one search takes. ``gpu: auto`` shares the GPUs there are among ``concurrent`` searches."""

    cpu: Real = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    gpu: Literal["auto"] | Annotated[Real, Field(ge=0.0, allow_inf_nan=False)] = "auto"

    memory: Int | None = Field(default=None, gt=0, le=2**60)  # bytes; written as 4GiB, 500MB or a number
    labels: dict[str, str] = Field(
        default_factory=dict
    )  # of the nodes that may be used, in Ray's words: {ray.io/accelerator-type: H100}

    @field_validator("memory", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if SIZE.fullmatch(value) is None:
            raise ValueError(f"must be a number of bytes, or such as 4GiB or 500MB, not {shown(value)}")
        return parse_bytes(value)

    @field_validator("gpu", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        """A union would complain of 'auto' alone."""
        if value == "auto":
            return value
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0.0 <= value < 2**20:
            raise ValueError(f"must be a number of GPUs (0 or more) or 'auto', not {shown(value)}")
        return float(value)


def forgets(url: str) -> bool:
    """Whether an Optuna store is kept in memory."""
    return in_memory(url)


class Stores(Section):
    """Where the study is kept; everything has a place in the runs folder by default."""

    optuna: str | None = None  # any SQLAlchemy URL
    mlflow: str | None = None  # any MLflow tracking URI
    storage: str | None = None  # a folder or URL (s3://bucket/runs) every node reaches: search states

    @field_validator("optuna", "mlflow", "storage")
    @classmethod
    def _is_remembered(cls, url: str | None) -> str | None:
        """What opens it is masked wherever it is shown from now on."""
        remember(url)
        return url

    @field_validator("optuna")
    @classmethod
    def _is_kept(cls, url: str | None) -> str | None:
        if url and forgets(url):
            raise ValueError(f"{shown(masked(url))} is kept in memory: a study would be lost with its driver")
        return url


class Final(Section):
    """The comparison at the end, on questions no search has seen."""

    questions: Int = Field(default=4096, ge=1)
    baselines: tuple[str, ...] = ("random", "fastv", "tome", "pool")
    ratios: Int = Field(default=6, ge=1, description="at most so many compute ratios of the front are matched")


class StudyFile(Section):
    """One study: many searches of one model, one front of its objectives (by default accuracy against compute)."""

    name: str
    description: str = ""
    model: str = "bundled"
    trust_remote_code: Flag = False  # run Python that lies in the model's folder
    allow_missing: Flag = False  # draw weights at random that the model's folder lacks
    # a name, or name and options: {name: files, data: questions.jsonl}; left out: as ``tasks.choice.default_for`` says
    task: str | dict[str, Any] = "scenes"
    objectives: dict[str, str] = OBJECTIVES
    search: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Dimension] = Field(min_length=1)
    sampler: Sampler = Sampler()
    scheduler: Scheduler = Scheduler()
    constraints: Constraints = Constraints()
    warm_start: WarmStart = WarmStart()
    trials: Int = Field(default=20, ge=1, le=1_000_000)
    concurrent: Int = Field(default=2, ge=1, le=10_000)
    resources: Resources = Resources()
    stores: Stores = Stores()
    final: Final = Final()

    @model_validator(mode="before")
    @classmethod
    def _under_current_names(cls, values: Any) -> Any:
        return current_study(values)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError(f"{shown(name)} must be letters, digits, '.', '_' and '-': it names a folder")
        if len(name) > LONGEST:
            raise ValueError(f"a name has at most {LONGEST} characters, not {len(name)}: it names a folder")
        if name.lower() in RESERVED:
            raise ValueError(f"'{name}' is taken: the runs folder keeps MLflow's runs under it")
        return name

    @field_validator("description")
    @classmethod
    def _shows(cls, text: str) -> str:
        return check_characters(text, allowed="\n\t")

    @model_validator(mode="before")
    @classmethod
    def _task_of_model(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "model" in fields and "task" not in fields:
            return {**fields, "task": default_for(str(fields["model"]))}
        return fields

    @field_validator("task", mode="before")
    @classmethod
    def _known_task(cls, task: Any) -> Any:
        try:
            return checked(task)
        except EosError as error:
            raise ValueError(str(error)) from None

    @field_validator("model")
    @classmethod
    def _is_a_line(cls, text: str) -> str:
        return check_characters(text)

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, objectives: dict[str, str]) -> dict[str, str]:
        try:
            return {one.metric: str(one.direction) for one in objective.parse(objectives, COSTS)}
        except EosError as error:
            raise ValueError(str(error)) from None

    @field_validator("search", mode="before")
    @classmethod
    def _empty_is_default(cls, search: Any) -> Any:
        return {} if search is None else search

    def identity(self) -> dict[str, Any]:
        """What makes this study this one and no other: more trials or another sampler continue it, these do not."""
        made_of = {"search", "space", "constraints"}  # a trial's feasibility is settled when it ends
        fields = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=made_of)
        if self.axes != objective.DEFAULT:  # in their order, which the values of a trial have
            fields["objectives"] = list(self.objectives)
        return {"name": self.name, "model": self.model, "task": self.task, "search": {}, "space": {}, **fields}

    @property
    def axes(self) -> tuple[Objective, ...]:
        """The objectives, in the order in which a trial's values are stored."""
        axes = objective.parse(self.objectives, COSTS)
        if not self.search.get("device_profile"):
            return axes
        timed = {name for name, cost in COSTS.items() if not cost.deterministic}
        return tuple(replace(one, label=f"{one.label}, device profile") if one.metric in timed else one for one in axes)

    @property
    def setting(self) -> Setting:
        """How the model is run where costs are taken; a device profile is meant from where the driver stands."""
        varied = {"budget": 1.0} if "budget" not in self.search else {}
        setting = SearchConfig.of({**self.search, **varied}, "search").setting
        return replace(setting, profile=os.path.abspath(setting.profile)) if setting.profile else setting

    @property
    def secret(self) -> bool:
        """Whether an address of a store holds what nobody else may read."""
        return any(url and secret(url) for _, url in self.stores)

    def to_yaml(self, *, secrets: bool = False) -> str:
        """YAML that reads back as an equal study.

        Args:
            secrets: keep the passwords in the stores' URLs, which are masked otherwise.
        """
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        if not secrets and "stores" in data:
            data["stores"] = {name: masked(url) for name, url in data["stores"].items()}
        return strict_yaml.dump(data)

    @classmethod
    def of(cls, values: Any, where: str = "study") -> StudyFile:
        """Validate a mapping.

        Raises:
            EosError: what is wrong, with the path of the key.
        """
        if not isinstance(values, dict):
            raise EosError(f"{where}: a study file is a mapping of keys such as name, model, space and trials")
        try:
            study = cls.model_validate(values)
        except ValidationError as error:
            raise explain(error, where, _keys(values)) from None
        study = study.model_copy(update={"search": _checked_search(study, where)})
        study = study.model_copy(update={"space": check_space(study.space, study.search, where)})
        check_together(study, where)
        return study


def _checked_search(study: StudyFile, where: str) -> dict[str, Any]:
    """The fixed fields, a budget with a unit as a number.

    Raises:
        EosError: one that a search does not have, or would refuse.
    """
    varied = {"budget": 1.0} if "budget" in study.space and "budget" not in study.search else {}
    budget = SearchConfig.of({**study.search, **varied}, f"{where}: search").budget
    return {**study.search, "budget": budget} if isinstance(study.search.get("budget"), str) else study.search


def _keys(values: Mapping[str, Any]) -> dict[str, Iterable[str]]:
    """The keys allowed at each path, for did-you-mean."""
    known: dict[str, Iterable[str]] = {"": StudyFile.model_fields}
    for name, field in StudyFile.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            known[name] = field.annotation.model_fields
    space = values.get("space")
    for name in space if isinstance(space, dict) else ():
        known[f"space.{name}"] = Dimension.keys()
    return known


def packaged() -> dict[str, Path]:
    """The studies that ship with the package, by name."""
    folder = Path(str(resources.files("eos_platform"))) / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(source: str | Path, also: Iterable[str] = ()) -> Path:
    """The file of a packaged study's name, or of a path to a YAML file; ``also``: other names, for did-you-mean."""
    text = str(source)
    if text.endswith((".yaml", ".yml")) or "/" in text or isinstance(source, Path):
        return Path(source)
    known = packaged()
    if text not in known:
        raise unknown("study", text, {*known, *also})
    return known[text]


def load(path: str | Path, overrides: Iterable[str] = ()) -> StudyFile:
    """Read a study file; each override is ``key.path=value``, its value read as YAML.

    Raises:
        EosError: missing, not YAML, or not a valid study.
    """
    where = shown_path(path)
    values = parse(read_text(path, "study file", MEGABYTE), where)
    try:
        values = current_study(values)
    except ValueError as error:
        raise EosError(f"{where}: {error}") from None
    for override in overrides:
        _override(values, override)
    return StudyFile.of(values, where)


def parse_override(text: str) -> tuple[str, Any]:
    """``key=value`` as the key and the value read as YAML."""
    key, sign, value = text.partition("=")
    if sign and ("://" in value or "@" in value):
        remember(value.strip(" '\""))
    where = f"--set {brief(text)}"
    if not sign or not key.strip():
        raise EosError(f"{where}: expected key=value, such as trials=20 or search.steps=120")
    return key.strip(), parse(value, where)


def _override(values: Any, text: str) -> None:
    key, value = parse_override(text)
    *parents, last = current_path(key.split("."))
    for part in parents:
        inner = values.get(part) if isinstance(values, dict) else None
        if not isinstance(inner, dict):
            if not isinstance(values, dict):
                raise EosError(f"--set {brief(text)}: {shown(key)} is no place in the study file")
            # a short form such as "sampler: tpe" gives way to the long one
            inner = {"name": inner} if isinstance(inner, str) else {}
            values[part] = inner
        values = inner
    if not isinstance(values, dict):
        raise EosError(f"--set {brief(text)}: {shown(key)} is no place in the study file")
    values[last] = value
