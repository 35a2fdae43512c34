"""Names that earlier versions wrote into files, and what they are called today.

Everything that reads a file asks here, so that old files keep loading; everything that writes one uses today's names.
To rename a field or a value that files hold: rename it in the code, and enter the former name in the table below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FormerNames:
    """The former names of one kind of mapping.

    Attributes:
        fields: today's name of a field, by its former one.
        values: by field (today's name): today's name of a value, by its former one.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def name(self, name: str) -> str:
        """Today's name of a field."""
        return self.fields.get(name, name)

    def value(self, name: str, value: Any) -> Any:
        """Today's name of a value, or of each of a list; ``name`` is the field's."""
        known = self.values.get(self.name(name), {})
        if isinstance(value, str):
            return known.get(value, value)
        return type(value)(self.value(name, one) for one in value) if type(value) in (list, tuple) and known else value

    def current(self, data: Any) -> Any:
        """A mapping under today's names, in its order; itself where it has no others; anything but a mapping as it is.

        Raises:
            ValueError: a field is given under both of its names.
        """
        if not isinstance(data, Mapping):
            return data
        made: dict[Any, Any] = {}
        for key, value in data.items():
            name = self.name(key) if isinstance(key, str) else key
            if name in made or (name != key and name in data):
                former = next(old for old, new in self.fields.items() if new == name)
                raise ValueError(f"'{former}' is the former name of '{name}'; give one of them")
            made[name] = self.value(name, value) if isinstance(name, str) else value
        return data if made == data else made

    def latest(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """As ``current``, of what was written by several versions: where both names are there, today's holds."""
        superseded = {key for key in data if self.name(key) != key and self.name(key) in data}
        return dict(self.current({key: value for key, value in data.items() if key not in superseded}))

    def former(self, data: Any) -> Any:
        """The mapping under its former names: for keys and digests that earlier versions stored files under."""
        if not isinstance(data, Mapping):
            return data
        fields = {new: old for old, new in self.fields.items()}
        values = {name: {new: old for old, new in known.items()} for name, known in self.values.items()}
        return {
            fields.get(key, key): values.get(key, {}).get(value, value) if isinstance(value, str) else value
            for key, value in data.items()
        }


_SELECTORS = {"cover": "diverse_topk", "withdraw": "drop_all"}

# fields of a search: in study files, checkpoints and comparisons, and as parameters in Optuna's and MLflow's stores
SEARCH = FormerNames(
    {"ease": "budget_warm_up", "steer": "steering_rank", "sizes": "size_bias"}, {"selector": _SELECTORS}
)
SITE = FormerNames(values={"selector": _SELECTORS})  # of an operator
PARAMETERS = FormerNames({"read": "question_proj", "turn": "direction_delta"})  # tensors of a search's state
SCHEDULER = FormerNames({"least": "min_searches"})  # sections of a study file
WARM_START = FormerNames({"most": "max_searches"})
TUNING = FormerNames({"asked": "proposed"})  # of a comparison's records


def current_space(space: Any) -> Any:
    """A study's space (or what a store holds of it) under today's names: fields, their choices and conditions."""
    if not isinstance(space, Mapping):
        return space
    made = {}
    for name, dimension in SEARCH.current(space).items():
        if isinstance(dimension, Mapping):
            dimension = dict(dimension)
            if "choice" in dimension:
                dimension["choice"] = SEARCH.value(name, dimension["choice"])
            if "when" in dimension:
                dimension["when"] = SEARCH.current(dimension["when"])
        made[name] = dimension
    return made


SECTIONS = {"search": SEARCH, "space": SEARCH, "scheduler": SCHEDULER, "warm_start": WARM_START}  # of a study file


def current_study(data: Any) -> Any:
    """What a study file says, under today's names.

    Raises:
        ValueError: a field is given under both of its names.
    """
    if not isinstance(data, Mapping):
        return data
    made = {name: SECTIONS[name].current(value) if name in SECTIONS else value for name, value in data.items()}
    return {**made, "space": current_space(data["space"])} if "space" in data else made


def current_path(path: list[str]) -> list[str]:
    """The path of a study file's key, such as ``search.steps``, under today's names."""
    if len(path) < 2 or path[0] not in SECTIONS:
        return path
    rest = path[2:]
    if path[0] == "space" and len(rest) == 2 and rest[0] == "when":
        rest = ["when", SEARCH.name(rest[1])]
    return [path[0], SECTIONS[path[0]].name(path[1]), *rest]


def current_tensor(name: str) -> str:
    """Today's name of a tensor in a search's state, such as ``adam.exp_avg.gamma``."""
    head, dot, last = name.rpartition(".")
    return head + dot + PARAMETERS.name(last)
