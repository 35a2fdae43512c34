"""Questions about notes, texts and tables."""

from __future__ import annotations

from eos_platform.tasks.scenes_v2.catalogue import ORDINALS, WORDS
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.questions.phrasing import Found, Names, yes
from eos_platform.tasks.scenes_v2.scene import Page, Scene, Table


def _page(scene: Scene, kind: str) -> Page | None:
    return next((panel for panel in scene.panels if isinstance(panel, Page) and panel.kind == kind), None)


def _table(scene: Scene) -> Table | None:
    return next((panel for panel in scene.panels if isinstance(panel, Table)), None)


def title(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is the title of the note?"""
    note = _page(scene, "note")
    if note is None or note.title is None:
        return None
    return Found("what is the title of the note?", note.title.text, 1, 1, (note.title.centre,))


def entry(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is the <key> on the note?"""
    note = _page(scene, "note")
    if note is None or not note.lines:
        return None
    key, value = draws.pick(note.lines)
    steps = 2 if key.text == "code:" else 1
    return Found(f"what is the {key.text[:-1]} on the note?", value.text, steps, 2 * len(note.lines), (value.centre,))


def word(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is the <first | last> word of line <number>?"""
    text = _page(scene, "text")
    if text is None or not text.lines:
        return None
    number = draws.below(len(text.lines))
    line = text.lines[number]
    which, chosen = draws.pick([("first", line[0]), ("last", line[-1])])
    words = sum(map(len, text.lines))
    return Found(f"what is the {which} word of line {ORDINALS[number]}?", chosen.text, 2, words, (chosen.centre,))


def search(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Is the word <word> in the text?"""
    text = _page(scene, "text")
    if text is None or not text.lines:
        return None
    words = [word for line in text.lines for word in line]
    chosen = draws.pick(words).text if draws.chance(0.5) else draws.pick(WORDS)
    places = tuple(word.centre for word in words if word.text == chosen)
    at = places if len(places) == 1 else ()
    return Found(f"is the word {chosen} in the text?", yes(bool(places)), 1, len(words), at)


def cell(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """What is the <column> of <row>?"""
    table = _table(scene)
    if table is None:
        return None
    row, column = draws.below(len(table.rows)), draws.below(len(table.columns))
    number = table.cells[row][column]
    text = f"what is the {table.columns[column].text} of {table.rows[row].text}?"
    places = (number.centre, table.rows[row].centre)
    return Found(text, number.text, 1 + (len(table.columns) > 1), len(table.rows) * len(table.columns), places)


def rows(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Is the <column> of A higher than that of B?"""
    table = _table(scene)
    if table is None:
        return None
    column = draws.below(len(table.columns))
    a, b = draws.sample(range(len(table.rows)), 2)
    first, second = table.cells[a][column], table.cells[b][column]
    text = f"is the {table.columns[column].text} of {table.rows[a].text} higher than of {table.rows[b].text}?"
    higher = int(first.text) > int(second.text)
    steps = 2 + (len(table.columns) > 1)
    return Found(text, yes(higher), steps, len(table.rows) * len(table.columns), (first.centre, second.centre))


def best(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Which row has the <highest | lowest> <column>?"""
    table = _table(scene)
    if table is None:
        return None
    column = draws.below(len(table.columns))
    values = [int(row[column].text) for row in table.cells]
    which = draws.pick(("highest", "lowest"))
    row = values.index(max(values) if which == "highest" else min(values))
    text = f"which row has the {which} {table.columns[column].text}?"
    places = (table.rows[row].centre, table.cells[row][column].centre)
    return Found(text, table.rows[row].text, 2, 3 * len(table.rows), places)
