"""Answer a question from the scene alone: reads the question's words, knows nothing of how questions are made.

It is the check on every answer: it shares no code with the asking functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from eos_platform.common.errors import EosError
from eos_platform.tasks.scenes_v2.scene import Chart, Objects, Page, Scene, Table, Thing

P = TypeVar("P")
Rule = Callable[..., str]
RULES: list[tuple[re.Pattern[str], Rule]] = []
NUMERALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def solve(scene: Scene, question: str) -> str:
    """The answer to a question in the task's words.

    Raises:
        EosError: a question that this picture does not answer, or in other words than the task's.
    """
    for pattern, rule in RULES:
        match = pattern.fullmatch(question)
        if match:
            return rule(scene, *match.groups())
    raise EosError(f"no rule answers the question '{question}'")


def _rule(pattern: str) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        RULES.append((re.compile(pattern), rule))
        return rule

    return add


def _is(thing: Thing, words: str) -> bool:
    """Does this description fit the thing? '<colour> thing', '<kind>' or '<colour> <kind>'."""
    return all(word in ("thing", "things", thing.kind, thing.color) for word in words.split())


def _the(scene: Scene, words: str) -> Thing:
    fitting = [thing for thing in scene.things if _is(thing, words)]
    if len(fitting) != 1:
        raise EosError(f"{len(fitting)} things are called '{words}', not one")
    return fitting[0]


def _panel(scene: Scene, of: type[P], kind: str = "") -> P:
    panels = [p for p in scene.panels if isinstance(p, of) and kind in ("", getattr(p, "kind", ""))]
    if len(panels) != 1:
        raise EosError(f"{len(panels)} panels of the kind asked about, not one")
    return panels[0]


def _truth(fact: bool) -> str:
    return "yes" if fact else "no"


@_rule(r"is there an? (.+)\?")
def _existence(scene: Scene, words: str) -> str:
    return _truth(any(_is(thing, words) for thing in scene.things))


@_rule(r"how many (.+) are there\?")
def _counting(scene: Scene, words: str) -> str:
    return NUMERALS[sum(_is(thing, words) for thing in scene.things)]


@_rule(r"what color is the (highest|lowest) bar\?")
def _extreme_color(scene: Scene, which: str) -> str:
    chart = _panel(scene, Chart)
    return chart.colors[_end(chart.values, which)]


@_rule(r"what color is the (.+)\?")
def _color(scene: Scene, words: str) -> str:
    return _the(scene, words).color


@_rule(r"what is nearest to the (.+)\?")
def _nearest(scene: Scene, words: str) -> str:
    thing = _the(scene, words)
    others = [t for t in scene.things if t != thing]
    return min(others, key=lambda t: (t.x - thing.x) ** 2 + (t.y - thing.y) ** 2).kind


@_rule(r"is the (.+) (left of|right of|above|below) the (.+)\?")
def _relation(scene: Scene, first: str, words: str, second: str) -> str:
    a, b = _the(scene, first), _the(scene, second)
    facts = {"left of": a.x < b.x, "right of": b.x < a.x, "above": a.y < b.y, "below": b.y < a.y}
    return _truth(facts[words])


@_rule(r"are the (.+) and the (.+) of the same color\?")
def _same(scene: Scene, first: str, second: str) -> str:
    return _truth(_the(scene, first).color == _the(scene, second).color)


@_rule(r"is the (.+) larger than the (.+)\?")
def _larger(scene: Scene, first: str, second: str) -> str:
    return _truth(_the(scene, first).side > _the(scene, second).side)


@_rule(r"in which corner is the (.+)\?")
def _corner(scene: Scene, words: str) -> str:
    thing = _the(scene, words)
    return f"{'top' if thing.y < scene.height / 2 else 'bottom'} {'left' if thing.x < scene.width / 2 else 'right'}"


@_rule(r"what is the ground under the (.+)\?")
def _ground(scene: Scene, words: str) -> str:
    thing = _the(scene, words)
    panels = [p for p in scene.panels if isinstance(p, Objects)]
    return next(p.ground for p in panels if p.box[0] <= thing.x < p.box[2] and p.box[1] <= thing.y < p.box[3])


@_rule(r"what is the title of the note\?")
def _title(scene: Scene) -> str:
    title = _panel(scene, Page, "note").title
    if title is None:
        raise EosError("the note has no title")
    return title.text


@_rule(r"what is the (\w+) on the note\?")
def _entry(scene: Scene, key: str) -> str:
    return {label.text.rstrip(":"): value.text for label, value in _panel(scene, Page, "note").lines}[key]


@_rule(r"what is the (first|last) word of line (\w+)\?")
def _word(scene: Scene, which: str, number: str) -> str:
    words = sorted(_panel(scene, Page, "text").lines[NUMERALS.index(number) - 1], key=lambda word: word.x)
    return words[0 if which == "first" else -1].text


@_rule(r"is the word (\w+) in the text\?")
def _search(scene: Scene, word: str) -> str:
    return _truth(any(word == shown.text for line in _panel(scene, Page, "text").lines for shown in line))


def _column(table: Table, column: str) -> dict[str, int]:
    at = [head.text for head in table.columns].index(column)
    return {label.text: int(cells[at].text) for label, cells in zip(table.rows, table.cells, strict=True)}


@_rule(r"what is the (\w+) of (\w+)\?")
def _cell(scene: Scene, column: str, row: str) -> str:
    return str(_column(_panel(scene, Table), column)[row])


@_rule(r"is the (\w+) of (\w+) higher than of (\w+)\?")
def _rows(scene: Scene, column: str, first: str, second: str) -> str:
    values = _column(_panel(scene, Table), column)
    return _truth(values[first] > values[second])


@_rule(r"which row has the (highest|lowest) (\w+)\?")
def _best(scene: Scene, which: str, column: str) -> str:
    values = _column(_panel(scene, Table), column)
    return (max if which == "highest" else min)(values, key=values.__getitem__)


def _end(values: tuple[int, ...], which: str) -> int:
    wanted = (max if which == "highest" else min)(values)
    if values.count(wanted) != 1:
        raise EosError(f"several are {which}")
    return values.index(wanted)


def _value(chart: Chart, words: str) -> int:
    """Of '<colour> bar', 'bar at <month>' or 'line at <month>'."""
    kind, _, month = words.partition(" at ")
    if month:
        return chart.values[[label.text for label in chart.labels].index(month)]
    return chart.values[chart.colors.index(kind.removesuffix(" bar"))]


@_rule(r"at which month is the (?:bar|line) (highest|lowest)\?")
def _extreme_month(scene: Scene, which: str) -> str:
    chart = _panel(scene, Chart)
    return chart.labels[_end(chart.values, which)].text


@_rule(r"how high is the (.+)\?")
def _height(scene: Scene, words: str) -> str:
    return str(_value(_panel(scene, Chart), words))


@_rule(r"is the (.+) higher than the (.+)\?")
def _higher(scene: Scene, first: str, second: str) -> str:
    chart = _panel(scene, Chart)
    return _truth(_value(chart, first) > _value(chart, second))


@_rule(r"how much higher is the (.+) than the (.+)\?")
def _difference(scene: Scene, first: str, second: str) -> str:
    chart = _panel(scene, Chart)
    return str(_value(chart, first) - _value(chart, second))


@_rule(r"what is the (\w+ thing)\?")
def _kind(scene: Scene, words: str) -> str:
    return _the(scene, words).kind
