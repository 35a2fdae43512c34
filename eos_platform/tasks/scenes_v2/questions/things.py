"""Questions about objects: are they there, how many, which, where, beside what."""

from __future__ import annotations

from eos_platform.tasks.scenes_v2.catalogue import COLORS, COUNTS, KINDS
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.questions.phrasing import Found, Names, article, yes
from eos_platform.tasks.scenes_v2.scene import Objects, Scene


def existence(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Is there a <colour> <kind>? The 'no' cases are mostly of a colour and a kind that are both in the picture."""
    there = sorted((kind, color) for kind, color in names.both if kind)
    if not there:
        return None
    kinds = sorted({kind for kind, _ in there})
    if draws.chance(0.4):
        kind = draws.pick(kinds) if draws.chance(0.5) else draws.pick(KINDS)
        places = tuple((t.x, t.y) for t in scene.things if t.kind == kind)
        at = places if len(places) == 1 else ()
        return Found(f"is there {article(kind)} {kind}?", yes(bool(places)), 1, len(scene.things), at)
    if draws.chance(0.5):
        kind, color = draws.pick(there)
    else:
        absent = [(k, c) for k in kinds for c in sorted(names.colors) if (k, c) not in names.both]
        kind, color = draws.pick(absent) if absent else (draws.pick(kinds), draws.pick(COLORS))
    places = tuple((t.x, t.y) for t in scene.things if (t.kind, t.color) == (kind, color))
    at = places if len(places) == 1 else ()
    return Found(f"is there {article(color)} {color} {kind}?", yes(bool(places)), 2, len(scene.things), at)


def counting(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """How many <kind | colour | colour kind> things are there? The number is chosen first, larger ones more often.

    "Cat things" rather than "cats": no kind has a second word.
    """
    counts: dict[int, list[str]] = {}
    for kind in sorted(kind for kind in names.kinds if kind):
        counts.setdefault(names.kinds[kind], []).append(f"{kind} things")
    for color in sorted(names.colors):
        counts.setdefault(names.colors[color], []).append(f"{color} things")
    for kind, color in sorted(both for both in names.both if both[0]):
        counts.setdefault(names.both[kind, color], []).append(f"{color} {kind} things")
    counts = {n: things for n, things in counts.items() if n < len(COUNTS)}
    if not counts:
        return None
    n = draws.pick(sorted(counts))
    if draws.chance(0.6):  # small numbers are in every picture, large ones in few
        n = max(n, draws.pick(sorted(counts)))
    steps = 1 if n < 4 else 2 if n < 8 else 3
    return Found(f"how many {draws.pick(counts[n])} are there?", COUNTS[n], steps, len(scene.things))


def color(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What color is the <kind>?"""
    for thing, name in names.some(draws, 1, hide="color"):
        return Found(f"what color is the {name}?", thing.color, 1, len(scene.things), ((thing.x, thing.y),))
    return None


def kind(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is the <colour> thing?"""
    for thing, name in names.some(draws, 6, hide="kind"):
        if thing.kind:
            return Found(f"what is the {name}?", thing.kind, 1, len(scene.things), ((thing.x, thing.y),))
    return None


def nearest(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is nearest to the <name>? Asked where the second nearest is clearly farther away."""
    for thing, name in names.some(draws, 6):
        away = sorted(
            ((t.x - thing.x) ** 2 + (t.y - thing.y) ** 2, t.kind, (t.x, t.y)) for t in scene.things if t is not thing
        )
        if away and away[0][1] and (len(away) == 1 or away[1][0] > 1.7 * away[0][0]):
            return Found(
                f"what is nearest to the {name}?", away[0][1], 2, len(scene.things), ((thing.x, thing.y), away[0][2])
            )
    return None


def relation(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Is A <left of | right of | above | below> B? They are clearly apart in that direction."""
    apart = 24
    pair = names.some(draws, 2)
    if len(pair) < 2:
        return None
    (a, first), (b, second) = pair
    options = []
    if abs(a.x - b.x) >= apart:
        options += [("left of", a.x < b.x), ("right of", a.x > b.x)]
    if abs(a.y - b.y) >= apart:
        options += [("above", a.y < b.y), ("below", a.y > b.y)]
    if not options:
        return None
    words, truth = draws.pick(options)
    places = ((a.x, a.y), (b.x, b.y))
    return Found(f"is the {first} {words} the {second}?", yes(truth), 2, len(scene.things), places)


def same(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Are A and B of the same color? Half of the cases are."""
    named = names.some(draws, 8, hide="color")
    pairs = [(a, b) for k, a in enumerate(named) for b in named[k + 1 :]]
    alike = [(a, b) for a, b in pairs if a[0].color == b[0].color]
    unlike = [(a, b) for a, b in pairs if a[0].color != b[0].color]
    if not pairs or (
        not alike and draws.chance(0.6)
    ):  # there is mostly an unlike pair: 'no' must not be the better guess
        return None
    wanted = bool(alike) and (not unlike or draws.chance(0.5))
    (a, first), (b, second) = draws.pick(alike if wanted else unlike)
    text = f"are the {first} and the {second} of the same color?"
    return Found(text, yes(wanted), 2, len(scene.things), ((a.x, a.y), (b.x, b.y)))


def size(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Is A larger than B? One is at least a third larger than the other."""
    things = names.some(draws, 8)
    for number, (a, first) in enumerate(things):
        for b, second in things[number + 1 :]:
            if 3 * max(a.side, b.side) >= 4 * min(a.side, b.side):
                text = f"is the {first} larger than the {second}?"
                return Found(text, yes(a.side > b.side), 2, len(scene.things), ((a.x, a.y), (b.x, b.y)))
    return None


def location(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """In which corner of the picture is the <name>? Asked of objects clearly away from the middle lines."""
    for thing, name in names.some(draws, 6):
        across, down = 2 * thing.x - scene.width, 2 * thing.y - scene.height
        if abs(across) > scene.width // 7 and abs(down) > scene.height // 7:
            answer = ("top" if down < 0 else "bottom") + " " + ("left" if across < 0 else "right")
            return Found(f"in which corner is the {name}?", answer, 1, len(scene.things), ((thing.x, thing.y),))
    return None


def ground(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is the ground under the <name>?"""
    for thing, name in names.some(draws, 1):
        for panel in scene.panels:
            if isinstance(panel, Objects) and thing in panel.things:
                text = f"what is the ground under the {name}?"
                return Found(text, panel.ground, 1, len(scene.things), ((thing.x, thing.y),))
    return None
