"""What a question is, and how objects are called in one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.scene import Scene, Thing

Place = tuple[int, int]


@dataclass(frozen=True)
class Question:
    """One question about a picture.

    Attributes:
        skill: what it asks for.
        text: plain lower-case words.
        answer: one word or several.
        difficulty: 1 (one glance) to 3.
        places: (x, y) in pixels that must be looked at, in the order the question names them; at most two.
    """

    skill: str
    text: str
    answer: str
    difficulty: int
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Found:
    """What one asking function found to ask. ``steps``: how many facts must be put together; ``load``: among how many
    look-alike things (objects, lines, bars, cells) the right ones stand."""

    text: str
    answer: str
    steps: int
    load: int
    places: tuple[Place, ...] = ()


def difficulty(steps: int, load: int) -> int:
    """1 to 3: one fact among few is 1; a second or third fact, and a crowd, are one more each."""
    return max(1, min(3, steps + (load > 8)))


class Names:
    """For every object of a scene the names that mean it alone."""

    def __init__(self, scene: Scene) -> None:
        self.things = scene.things
        self.kinds = Counter(thing.kind for thing in self.things)
        self.colors = Counter(thing.color for thing in self.things)
        self.both = Counter((thing.kind, thing.color) for thing in self.things)

    def of(self, thing: Thing, draws: Draws, hide: str = "") -> str | None:
        """A name of one object that does not tell ``hide`` (``kind`` or ``color``); None when there is none."""
        options = []
        if thing.kind and hide != "kind":
            if self.kinds[thing.kind] == 1:
                options.append(thing.kind)
            if hide != "color" and self.both[thing.kind, thing.color] == 1:
                options.append(f"{thing.color} {thing.kind}")
        if hide != "color" and self.colors[thing.color] == 1:
            options.append(f"{thing.color} thing")
        return draws.pick(options) if options else None

    def some(self, draws: Draws, count: int, hide: str = "") -> list[tuple[Thing, str]]:
        """``count`` different objects with their names; fewer when there are not so many that can be named."""
        things: list[tuple[Thing, str]] = []
        for thing in draws.shuffled(self.things):
            name = self.of(thing, draws, hide)
            if name:
                things.append((thing, name))
                if len(things) == count:
                    break
        return things


def article(word: str) -> str:
    """``a`` or ``an``."""
    return "an" if word[0] in "aeiou" and not word.startswith("uni") else "a"


def yes(truth: bool) -> str:
    """The word for it."""
    return "yes" if truth else "no"
