"""Places: a model, the task that it is asked, and the cost that its budgets are about.

bundled-qwen                              a model on the task that it was trained on
bundled-qwen:crowds                       on another task
bundled-qwen:sizes=448                    on pictures of 448 x 448 pixels (an option of its task)
bundled-qwen:crowds:side=448              on another task's
bundled-small:device_profile=laptop.json  budgets are shares of the time that a device takes (``hardware.py``)
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eos_platform.analysis.transfer.hardware import KEYS, Hardware
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown, unknown
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.choice import (
    PATHS,
    Choice,
    checked,
    default_for,
    from_text,
    name_of,
    open_task,
    parsed,
    text_of,
)
from eos_platform.tasks.registry import TASKS
from eos_platform.tasks.workload import on_another_task

AT = ":"  # no name on the Hub has one; "@" is before a revision there
EXPECTED = f"MODEL, MODEL{AT}TASK or MODEL{AT}TASK{AT}OPTION=VALUE is expected"


@dataclass(frozen=True)
class Place:
    """One model on one task.

    Attributes:
        model: a bundled one, or a folder.
        task: what it is asked, as ``task_names.text_of`` writes it.
        hardware: the cost that budgets are about; None: the compute ratio.
    """

    model: str
    task: str
    hardware: Hardware | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """``MODEL[:TASK][:OPTION=VALUE]...``; a task with options may be JSON as well:
        ``MODEL:{"name": "files", "data": "my.jsonl"}``.

        Raises:
            EosError: no model, no such task or option, or a device profile that cannot be read.
        """
        model, _, rest = text.strip().partition(AT)
        if not model:
            raise EosError(f"place {shown(text)}: {EXPECTED}")
        where = f"place {shown(text)}"
        task, words = _split(rest)
        choice = from_text(task) if task else default_for(model)
        takes = inspect.signature(TASKS.get_named(name_of(choice))).parameters
        options, cost, seen = list[str](), dict[str, str](), set[str]()
        for word in words:
            key, sign, value = word.partition("=")
            if not (key and sign and value):
                raise EosError(f"{where}: {EXPECTED}, not {shown(word)}")
            if key in seen:
                raise EosError(f"{where}: {shown(key)} is given twice")
            seen.add(key)
            if key in KEYS:
                cost[key] = value
            elif key in takes:
                options.append(word)
            else:
                raise EosError(f"{where}: {unknown('option', key, [*takes, *KEYS])}")
        if options:
            given = {} if isinstance(choice, str) else choice
            choice = {**given, "name": name_of(choice), **parsed(name_of(choice), options, own=("name", *given))}
            if not {*PATHS} & {*choice}:
                open_task(choice)  # it checks its options
        return cls(model, text_of(checked(choice)), Hardware.of(cost, where) if cost else None)

    @property
    def choice(self) -> Choice:
        """The task as searches take it."""
        return from_text(self.task)

    @property
    def questions(self) -> Place:
        """The same model on the same questions, whatever budgets are about."""
        return replace(self, hardware=None)

    @property
    def name(self) -> str:
        """As tables have it: the task is left out where the model has no other, and so are paths of its files."""
        choice = self.choice
        words = [] if name_of(choice) == default_for(self.model) else [name_of(choice)]
        options: dict[str, Any] = {} if isinstance(choice, str) else dict(choice)
        words += [f"{key}={_shown(value)}" for key, value in options.items() if key not in ("name", *PATHS)]
        words += [] if self.hardware is None else self.hardware.words
        return AT.join([self.model, *words])

    def load(self, device: str | None = None) -> Subject:
        """The model and its questions.

        Raises:
            EosError: see ``load_workload``.
        """
        return load_workload(self.model, from_text(self.task), device)


def _split(rest: str) -> tuple[str, list[str]]:
    """A task, and the options after it."""
    if rest.startswith("{"):
        head, end, tail = rest.rpartition("}")
        return head + end, [word for word in tail.split(AT) if word]
    task, *words = rest.split(AT)
    return ("", [task, *words]) if "=" in task else (task, words)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else strict_json.dumps(value).replace(" ", "")


def parse_places(texts: Sequence[str]) -> tuple[Place, ...]:
    """Every place once.

    Raises:
        EosError: none is named, one twice, or two have one name.
    """
    places = tuple(Place.parse(text) for text in texts)
    names = [place.name for place in places]
    if not places:
        raise EosError("places: at least one MODEL or MODEL:TASK is needed")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise EosError(f"place {shown(name)} is named twice")
    return places


def of_a_search(text: str) -> Place:
    """A place without a cost of its own.

    Raises:
        EosError: see ``Place.parse``; or it names a cost.
    """
    place = Place.parse(text)
    if place.hardware is not None:
        raise EosError(f"place {shown(text)}: a search has one cost, which is set for all of its places")
    return place


def beside(subject: Subject, texts: Sequence[str], device: str | None = None) -> list[Subject]:
    """A loaded place, and the further ones that are named; places of one model share its weights.

    Args:
        subject: the first place.
        texts: ``MODEL``, ``MODEL:TASK``, or ``:TASK`` of the first place's model; with options of the task.
        device: where to run further models.

    Raises:
        EosError: no model, or no such task.
    """
    places, models = [subject], {subject.name: subject}
    for text in texts:
        place = of_a_search(f"{subject.name}{text}" if text.startswith(AT) else text)
        known = models.get(place.model)
        made = place.load(device) if known is None else on_another_task(known, place.choice)
        models.setdefault(place.model, made)
        places.append(made)
    return places
