"""Questions about a scene, one function a skill, in plain words, with balanced answers."""

from __future__ import annotations

from collections.abc import Callable

from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.questions import charts, reading, things
from eos_platform.tasks.scenes_v2.questions.phrasing import Found, Names, Question, difficulty
from eos_platform.tasks.scenes_v2.scene import Scene

SKILLS: dict[str, Callable[[Scene, Names, Draws], Found | None]] = {
    f.__name__: f
    for f in (
        *(things.existence, things.counting, things.color, things.kind, things.nearest, things.relation, things.same),
        *(things.size, things.location, things.ground),
        *(reading.title, reading.entry, reading.word, reading.search, reading.cell, reading.rows, reading.best),
        *(charts.value, charts.extreme, charts.higher, charts.difference),
    )
}
GROUPS = {
    "objects": ("existence", "counting", "color", "kind", "nearest", "relation", "same", "size", "location", "ground"),
    "documents": ("title", "entry", "word", "search"),
    "tables": ("cell", "rows", "best"),
    "charts": ("value", "extreme", "higher", "difference"),
}
GROUP_OF = {skill: group for group, skills in GROUPS.items() for skill in skills}


def ask(scene: Scene, draws: Draws) -> list[Question]:
    """One question for every skill that the scene allows, in the order of SKILLS."""
    names = Names(scene)
    candidates = ((skill, function(scene, names, draws)) for skill, function in SKILLS.items())
    return [
        Question(skill, one.text, one.answer, difficulty(one.steps, one.load), one.places)
        for skill, one in candidates
        if one is not None
    ]


__all__ = ["GROUPS", "GROUP_OF", "SKILLS", "Question", "ask"]
