"""Questions about a scene, one function a skill, in plain words, with balanced answers.

Every function gets the scene, the names of its objects and a generator, and returns (question, answer, places), or
None when the scene has nothing to ask about in that way. Objects are named by just enough words to be the only one
meant. Places are the pixels a question points at, in the order it names them: training's pointing loss wants them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from eos_platform.tasks.scenes.scene import COLORS, SHAPES, Scene, Thing

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
WORDS = (("shape",), ("color",), ("color", "shape"), ("size", "shape"), ("size", "color"), ("pattern", "shape"))
T = TypeVar("T")
Place = tuple[int, int]
Asked = tuple[str, str, tuple[Place, ...]] | None


@dataclass(frozen=True)
class Question:
    """One question about a picture; ``places`` are (x, y) in pixels."""

    skill: str
    text: str
    answer: str
    places: tuple[Place, ...] = ()


def ask(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """One question for every skill that the scene allows, in the order of SKILLS."""
    names = Names(scene)
    candidates = ((skill, function(scene, names, rng)) for skill, function in SKILLS.items())
    return [Question(skill, *question) for skill, question in candidates if question is not None]


class Names:
    """For every object of a scene the names that mean it alone, each with the attributes it gives away."""

    def __init__(self, scene: Scene) -> None:
        self.things = scene.things
        self.options: list[list[tuple[tuple[str, ...], str]]] = [[] for _ in scene.things]
        for words in WORDS:
            keys = [tuple(getattr(thing, word) for word in words) for thing in scene.things]
            times = Counter(keys)
            for number, key in enumerate(keys):
                if times[key] == 1:
                    noun = () if "shape" in words else ("object",)
                    self.options[number].append((words, " ".join((*key, *noun))))

    def name(self, number: int, rng: np.random.Generator, hide: str = "") -> str | None:
        """A name of object ``number`` that does not give away the attribute ``hide``; None when there is none."""
        options = [name for words, name in self.options[number] if hide not in words]
        return _pick(rng, options) if options else None

    def any(self, rng: np.random.Generator, hide: str = "") -> tuple[Thing, str] | None:
        """A random object that can be named, and its name."""
        for number in rng.permutation(len(self.things)):
            name = self.name(number, rng, hide)
            if name:
                return self.things[number], name
        return None


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _at(thing: Thing) -> tuple[Place, ...]:
    return ((thing.x, thing.y),)


def _plural(shape: str) -> str:
    return shape + ("es" if shape == "cross" else "s")


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def existence(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """Is there a <colour> <shape>? The 'no' cases are made of a colour and a shape that are both in the picture."""
    if not scene.things:
        return None
    there = {(t.color, t.shape) for t in scene.things}
    absent = [
        (c, s) for c in {t.color for t in scene.things} for s in {t.shape for t in scene.things} if (c, s) not in there
    ]
    if rng.random() < 0.5:
        color, shape = _pick(rng, sorted(there))
    elif absent:
        color, shape = _pick(rng, sorted(absent))
    else:
        color, shape = _pick(rng, COLORS), _pick(rng, SHAPES)
    matching = [_at(t) for t in scene.things if (t.color, t.shape) == (color, shape)]
    places = matching[0] if len(matching) == 1 else ()
    article = "an" if color == "orange" else "a"
    return f"is there {article} {color} {shape}?", _yes((color, shape) in there), places


def counting(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """How many <shapes | colour objects | colour shapes>? The asked-for number is first chosen evenly."""
    counts: dict[int, list[str]] = {}
    for color in ("", *COLORS):
        for shape in ("", *SHAPES):
            if color or shape:
                n = sum((not color or t.color == color) and (not shape or t.shape == shape) for t in scene.things)
                plural = _plural(shape) if shape else "objects"
                counts.setdefault(n, []).append(f"{color} {plural}".strip())
    if rng.random() < 0.9:
        counts.pop(0, None)
    n = _pick(rng, sorted(counts))
    return f"how many {_pick(rng, counts[n])} are there?", NUMBERS[n], ()


def color(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """What color is the <name without colour>?"""
    thing = names.any(rng, hide="color")
    return thing and (f"what color is the {thing[1]}?", thing[0].color, _at(thing[0]))


def shape(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """What shape is the <name without shape>?"""
    thing = names.any(rng, hide="shape")
    return thing and (f"what shape is the {thing[1]}?", thing[0].shape, _at(thing[0]))


def pattern(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """Is the <name> plain, striped or dotted?"""
    thing = names.any(rng, hide="pattern")
    return thing and (f"what pattern is on the {thing[1]}?", thing[0].pattern, _at(thing[0]))


def size(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """Is the <name without size> large or small?"""
    thing = names.any(rng, hide="size")
    return thing and (f"is the {thing[1]} large or small?", thing[0].size, _at(thing[0]))


def relation(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """Is A <left of | right of | above | below> B? They are clearly apart in that direction."""
    apart = scene.config.size // 12
    pairs = list(combinations(range(len(scene.things)), 2))
    for k in rng.permutation(len(pairs)):
        i, j = rng.permutation(pairs[k])
        a, b = scene.things[i], scene.things[j]
        first, second = names.name(i, rng), names.name(j, rng)
        if first is None or second is None:
            continue
        across, down = a.x - b.x, a.y - b.y
        options = []
        if abs(across) >= apart:
            options += [("left of", across < 0), ("right of", across > 0)]
        if abs(down) >= apart:
            options += [("above", down < 0), ("below", down > 0)]
        if options:
            words, truth = options[int(rng.integers(len(options)))]
            return f"is the {first} {words} the {second}?", _yes(truth), _at(a) + _at(b)
    return None


def location(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """In which corner of the picture is the <name>? Asked of objects clearly away from the middle lines."""
    middle, clear = scene.config.size / 2, scene.config.size / 14
    for number in rng.permutation(len(scene.things)):
        thing = scene.things[number]
        name = names.name(number, rng)
        if name and abs(thing.x - middle) > clear and abs(thing.y - middle) > clear:
            answer = ("top" if thing.y < middle else "bottom") + " " + ("left" if thing.x < middle else "right")
            return f"in which corner is the {name}?", answer, _at(thing)
    return None


def text(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """What does the sign say? The answer is spelled letter by letter."""
    left, top, right, bottom = scene.sign_box
    return "what does the sign say?", scene.sign, (((left + right) // 2, (top + bottom) // 2),)


def chart(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """Which bar is tallest or shortest, or how tall is the <colour> bar?"""
    levels = [level for _, level in scene.bars]
    kind = int(rng.integers(3))
    best = max(levels) if kind == 0 else min(levels)
    if kind < 2 and levels.count(best) == 1:
        number = levels.index(best)
        return f"which bar is the {('tallest', 'shortest')[kind]}?", scene.bars[number][0], _bar(scene, number)
    number = int(rng.integers(len(scene.bars)))
    bar_color, level = scene.bars[number]
    return f"how tall is the {bar_color} bar?", NUMBERS[level], _bar(scene, number)


def _bar(scene: Scene, number: int) -> tuple[Place, ...]:
    left, _, right, bottom = scene.chart_box
    return ((left + int((number + 0.5) * (right - left) / len(scene.bars)), bottom - scene.config.level_height),)


def comparison(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """Are there more A than B? Both are shapes or both colours; equal numbers are not asked about."""
    attribute = ("shape", "color")[int(rng.integers(2))]
    kinds = sorted({getattr(t, attribute) for t in scene.things})
    count = {kind: sum(getattr(t, attribute) == kind for t in scene.things) for kind in kinds}
    pairs = [(a, b) for a in kinds for b in kinds if count[a] != count[b]]
    if not pairs:
        return None
    a, b = _pick(rng, pairs)
    if attribute == "shape":
        return f"are there more {_plural(a)} than {_plural(b)}?", _yes(count[a] > count[b]), ()
    return f"are there more {a} objects than {b} objects?", _yes(count[a] > count[b]), ()


def ground(scene: Scene, names: Names, rng: np.random.Generator) -> Asked:
    """What is the ground at one side of the picture?"""
    second = int(rng.integers(2))
    side = (("left", "right") if scene.upright else ("top", "bottom"))[second]
    size = scene.config.size
    along = int(size * ((1 + scene.split_at) / 2 if second else scene.split_at / 2))
    place = (along, size // 2) if scene.upright else (size // 2, along)
    return f"what is the ground at the {side}?", scene.grounds[second], (place,)


SKILLS: dict[str, Callable[[Scene, Names, np.random.Generator], Asked]] = {
    f.__name__: f
    for f in (existence, counting, color, shape, pattern, size, relation, location, text, chart, comparison, ground)
}
