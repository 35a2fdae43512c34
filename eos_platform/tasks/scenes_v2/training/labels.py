"""What lies under each cell of 14 pixels: targets of the auxiliary loss that teaches the vision tower to see.

Answers alone teach too slowly; the auxiliary loss fades to zero before training ends.
"""

from __future__ import annotations

import numpy as np

from eos_platform.tasks.scenes_v2.catalogue import COLORS, COLUMNS, GROUNDS, KEYS, KINDS, MONTHS, WORDS
from eos_platform.tasks.scenes_v2.scene import Chart, Objects, Page, Scene, Table, Text

CELL = 14
_KNOWN = (*WORDS, *KEYS, *COLUMNS, *MONTHS)
_WORD = {word: 1 + k for k, word in enumerate(_KNOWN)} | {f"{key}:": 1 + _KNOWN.index(key) for key in KEYS}
_KIND = {kind: 2 + k for k, kind in enumerate(KINDS)} | {"": 1}
_COLOR = {color: 1 + k for k, color in enumerate(COLORS)}
_GROUND = {ground: 1 + k for k, ground in enumerate(GROUNDS)}
_LETTER = {letter: 1 + k for k, letter in enumerate("abcdefghijklmnopqrstuvwxyz0123456789")}
# attribute: number of classes, 0 means "nothing of the kind there"
ATTRIBUTES = {
    "kind": 2 + len(KINDS),
    "word": 1 + len(_KNOWN),
    "color": 1 + len(COLORS),
    "centre": 2,  # of an object lies here: what is counted
    "scale": 5,
    "ground": 1 + len(GROUNDS),
    "before": 1 + len(_LETTER),  # the letter in the left half of the cell, and in the right
    "behind": 1 + len(_LETTER),
    "number": 102,
    "level": 11,  # of a bar or point, out of ten
    "panel": 4,
    "column": 48,
    "row": 48,
}
DENSE = ("ground", "panel", "column", "row")  # something is there in every cell
_AT = {name: k for k, name in enumerate(ATTRIBUTES)}


def cell_labels(scene: Scene) -> np.ndarray:
    """(rows, columns, attributes) uint16 for a picture whose sides are multiples of 14 pixels."""
    rows, columns = scene.height // CELL, scene.width // CELL
    labels = np.zeros((rows, columns, len(ATTRIBUTES)), np.uint16)
    labels[..., _AT["row"]] = np.arange(rows)[:, None]
    labels[..., _AT["column"]] = np.arange(columns)
    for panel in scene.panels:
        left, top, right, bottom = ((side + CELL // 2) // CELL for side in panel.box)
        number = (Objects, Page, Table, Chart).index(type(panel))
        labels[top:bottom, left:right, _AT["panel"]] = number
        if isinstance(panel, Objects):
            labels[top:bottom, left:right, _AT["ground"]] = _GROUND[panel.ground]
            _things(labels, panel)
        elif isinstance(panel, Chart):
            _chart(labels, panel)
        else:
            for text in _texts(panel):
                _text(labels, text)
    return labels


def _texts(panel: Page | Table) -> list[Text]:
    if isinstance(panel, Page):
        return [*([panel.title] if panel.title else []), *(word for line in panel.lines for word in line)]
    return [*panel.columns, *panel.rows, *(cell for row in panel.cells for cell in row)]


def _things(labels: np.ndarray, panel: Objects) -> None:
    for thing in panel.things:
        reach = thing.side * 0.4
        top, bottom = _span(thing.y - reach, thing.y + reach, labels.shape[0])
        left, right = _span(thing.x - reach, thing.x + reach, labels.shape[1])
        under = labels[top:bottom, left:right]
        under[..., _AT["kind"]] = _KIND[thing.kind]
        under[..., _AT["color"]] = _COLOR[thing.color]
        under[..., _AT["scale"]] = 1 + (thing.side > 26) + (thing.side > 32) + (thing.side > 40)
        labels[thing.y // CELL, thing.x // CELL, _AT["centre"]] = 1


def _span(low: float, high: float, end: int) -> tuple[int, int]:
    """Cells whose middle lies between two pixels; the nearest one if none does."""
    first, last = int(np.ceil((low - CELL / 2) / CELL)), int((high - CELL / 2) // CELL)
    if last < first:
        first = last = int((low + high) / 2 // CELL)
    return max(0, first), min(end, last + 1)


def _text(labels: np.ndarray, text: Text) -> None:
    row, stop = _span(text.y - 6, text.y + 6, labels.shape[0])
    first, last = _span(text.x - 3, text.x + text.width + 3, labels.shape[1])
    under = labels[row:stop, first:last]
    under[..., _AT["word"]] = _WORD.get(text.text, 0)
    if text.text.isdecimal() and int(text.text) < ATTRIBUTES["number"] - 1:  # not a code that happens to be digits
        under[..., _AT["number"]] = 1 + int(text.text)
    pitch = text.width / len(text.text)
    for column in range(first, last):
        for name, shift in (("before", 3.5), ("behind", 10.5)):
            place = int((column * CELL + shift - text.x) // pitch)
            if 0 <= place < len(text.text):
                labels[row:stop, column, _AT[name]] = _LETTER.get(text.text[place], 0)


def _chart(labels: np.ndarray, chart: Chart) -> None:
    for text in (*chart.labels, *chart.ticks):
        _text(labels, text)
    half = (chart.plot[2] - chart.plot[0]) / (2 * len(chart.values))
    for number, value in enumerate(chart.values):
        x, y = chart.place(number)
        left, right = _span(x - half, x + half, labels.shape[1])
        top, bottom = _span(y if chart.kind == "bar" else y - 6, chart.plot[3] if chart.kind == "bar" else y + 6, 99)
        labels[top:bottom, left:right, _AT["color"]] = _COLOR[chart.colors[number]]
        top, bottom = _span(chart.plot[1], chart.plot[3], labels.shape[0])
        labels[top:bottom, left:right, _AT["level"]] = 10 * value // chart.top
