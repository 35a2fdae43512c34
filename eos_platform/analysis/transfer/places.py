"""Places: a model and the task that it is asked. ``MODEL`` alone means the task a bundled model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eos_platform.common.errors import EosError, shown
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.choice import Choice, checked, default_for, from_text, name_of, text_of
from eos_platform.tasks.workload import on_another_task

AT = ":"  # no name on the Hub has one; "@" is before a revision there


@dataclass(frozen=True)
class Place:
    """One model on one task.

    Attributes:
        model: a bundled one, or a folder.
        task: what it is asked, as ``task_names.text_of`` writes it.
    """

    model: str
    task: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """``MODEL`` or ``MODEL:TASK``; a task with options is JSON: ``MODEL:{"name": "files", "data": "my.jsonl"}``.

        Raises:
            EosError: no model, or no such task.
        """
        model, _, task = text.strip().partition(AT)
        if not model:
            raise EosError(f"place {shown(text)}: MODEL or MODEL{AT}TASK is expected")
        return cls(model, text_of(checked(from_text(task) if task else default_for(model))))

    @property
    def choice(self) -> Choice:
        """The task as searches take it."""
        return from_text(self.task)

    @property
    def name(self) -> str:
        """As tables have it: the task is left out where the model has no other."""
        own = default_for(self.model)
        task = name_of(self.choice)
        return self.model if self.task == own else f"{self.model}{AT}{task}"

    def load(self, device: str | None = None) -> Subject:
        """The model and its questions.

        Raises:
            EosError: see ``load_workload``.
        """
        return load_workload(self.model, from_text(self.task), device)


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


def beside(subject: Subject, texts: Sequence[str], device: str | None = None) -> list[Subject]:
    """A loaded place, and the further ones that are named; places of one model share its weights.

    Args:
        subject: the first place.
        texts: ``MODEL``, ``MODEL:TASK``, or ``:TASK`` of the first place's model.
        device: where to run further models.

    Raises:
        EosError: no model, or no such task.
    """
    places, models = [subject], {subject.name: subject}
    for text in texts:
        place = Place.parse(f"{subject.name}{text}" if text.startswith(AT) else text)
        known = models.get(place.model)
        made = place.load(device) if known is None else on_another_task(known, place.choice)
        models.setdefault(place.model, made)
        places.append(made)
    return places
