"""What a panel holds, drawn at random for its box."""

from __future__ import annotations

from dataclasses import replace

from eos_platform.tasks.scenes_v2.catalogue import (
    CODES,
    COLORS,
    COLUMNS,
    DIGITS,
    FACES,
    GROUNDS,
    KEYS,
    KINDS,
    LETTERS,
    MONTHS,
    OTHERS,
    WORDS,
    width,
)
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.scene import Box, Chart, Objects, Page, Table, Text, Thing

MOST = 12  # of one named kind in a picture: what questions count up to
CHARS = LETTERS + DIGITS


def objects(draws: Draws, box: Box) -> Objects:
    """Few large things, a crowd, or many small ones; from few kinds and colours, so that look-alikes are common."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    room = min(box[2] - box[0], box[3] - box[1]) - 6
    style = draws.random()
    sides: tuple[int, ...]
    if style < 0.42:
        wanted, sides, kinds = draws.between(2, 5), (32, 36, 40, 48, 56), draws.between(2, 4)
    elif style < 0.8:
        wanted, sides, kinds = draws.between(5, 11), (28, 32, 36, 40), draws.between(3, 6)
    else:
        wanted, sides, kinds = draws.between(10, 26), (24, 26, 28), draws.between(2, 4)
    sides = tuple(side for side in sides if side <= room) or (min(room, 24),)
    pool = draws.sample(KINDS, kinds)
    colors = draws.sample(COLORS, draws.between(2, 4))
    others = draws.chance(0.35)  # some things nobody has a name for
    boxes: list[tuple[int, int, int]] = []
    things, counts, covered = [], dict.fromkeys(pool, 0), 0
    for _ in range(wanted):
        side = draws.pick(sides)
        at = _free(draws, box, side, boxes) if covered + side * side < 0.55 * area else None
        if at is None:
            continue
        covered += side * side
        kind = draws.pick(pool)
        if counts[kind] == MOST or (others and draws.chance(0.25)):
            kind, code = "", draws.pick(OTHERS)
        else:
            code = CODES[kind]
            counts[kind] += 1
        things.append(Thing(kind, code, draws.pick(colors), at[0], at[1], side))
    clutter = draws.between(4, 4 + area // 1500) if draws.chance(0.5) else 0
    return Objects(box, draws.pick(GROUNDS), tuple(things), clutter)


def _free(draws: Draws, box: Box, side: int, boxes: list[tuple[int, int, int]]) -> tuple[int, int] | None:
    """The centre of a free square, noted in ``boxes``; None when 25 tries found no room."""
    half = side // 2 + 1
    for _ in range(25):
        x, y = draws.between(box[0] + half + 1, box[2] - half - 2), draws.between(box[1] + half + 1, box[3] - half - 2)
        if all(abs(x - a) >= (side + s) // 2 + 3 or abs(y - b) >= (side + s) // 2 + 3 for a, b, s in boxes):
            boxes.append((x, y, side))
            return x, y
    return None


def _text(text: str, x: int, y: int, size: int, name: str) -> Text:
    return Text(text, x, y, width(text, name, size), size, name)


def page(draws: Draws, box: Box, kind: str) -> Page:
    """A note (title, keys with values) or a text (lines of words), as many lines as the box and chance allow."""
    left, top, right, bottom = box
    size, name = draws.between(13, 17), draws.pick(FACES)
    pitch = size + draws.between(4, 8)
    y, x = top + 6 + size // 2, left + 6
    title = None
    room = right - 6
    if kind == "note":
        title = _fitting(draws, x, y + 1, min(size + 3, 18), "DejaVuSans-Bold", room)
        y += pitch + 4
    count = max(1, min(8, (bottom - 4 - size // 2 - y) // pitch + 1))
    count = draws.between(max(1, count // 2), count)
    lines: list[tuple[Text, ...]] = []
    if kind == "note":
        for key in draws.shuffled(KEYS)[: min(count, len(KEYS))]:
            label = _text(key + ":", x, y, size, name)
            start = x + label.width + size // 2
            if key == "code":
                value = _text("".join(draws.pick(CHARS) for _ in range(3)), start, y, size, name)
            else:
                value = _fitting(draws, start, y, size, name, room)
            if value.x + value.width <= room:
                lines.append((label, value))
                y += pitch
    else:
        for _ in range(count):
            words, start = [], x
            for _ in range(draws.between(2, 4)):
                word = _text(draws.pick(WORDS), start, y, size, name)
                if word.x + word.width > room:
                    break
                words.append(word)
                start += word.width + size // 2
            if words:
                lines.append(tuple(words))
                y += pitch
    texts = [*([title] if title else []), *(word for line in lines for word in line)]
    across = draws.between(0, max(0, room - max(text.x + text.width for text in texts)))
    down = draws.between(0, max(0, bottom - 4 - size // 2 - max(text.y for text in texts)))
    return Page(
        box,
        kind,
        title and _moved(title, across, down),
        tuple(tuple(_moved(word, across, down) for word in line) for line in lines),
    )


def _moved(text: Text, across: int, down: int) -> Text:
    return replace(text, x=text.x + across, y=text.y + down)


def _fitting(draws: Draws, x: int, y: int, size: int, name: str, room: int) -> Text:
    """A random word, a shorter one where it would not fit."""
    for _ in range(6):
        word = _text(draws.pick(WORDS), x, y, size, name)
        if word.x + word.width <= room:
            break
    return word


def table(draws: Draws, box: Box) -> Table:
    """Rows named by words, columns by what is counted, whole numbers up to 99."""
    left, top, right, bottom = box
    size, name = draws.between(12, 15), draws.pick(FACES)
    pitch = min(size + draws.between(4, 8), (bottom - top - 6) // 3)  # heads and two rows at least
    rows = max(2, min(6, (bottom - top - 6) // pitch - 1))
    words = draws.sample(WORDS, draws.between(2, rows))
    first = 12 + max(width(word, name, size) for word in words)
    columns = max(1, min(3, (right - left - first) // (width("stock", "DejaVuSans-Bold", size) + 8)))
    columns = draws.between(1, columns)
    step = (right - left - first) // columns
    y = top + 4 + pitch // 2 + draws.between(0, max(0, bottom - top - 8 - pitch * (len(words) + 1)))
    heads = tuple(
        _text(column, left + first + k * step, y, size, "DejaVuSans-Bold" if name == "DejaVuSans" else name)
        for k, column in enumerate(draws.sample(COLUMNS, columns))
    )
    labels = tuple(_text(word, left + 5, y + (k + 1) * pitch, size, name) for k, word in enumerate(words))
    numbers = draws.sample(range(100), len(labels) * columns)  # all different: no two are equal in a comparison
    cells = tuple(
        tuple(
            _text(str(numbers[r * columns + c]), left + first + c * step, label.y, size, name) for c in range(columns)
        )
        for r, label in enumerate(labels)
    )
    return Table(box, heads, labels, cells)


def chart(draws: Draws, box: Box) -> Chart:
    """Bars or a line over months, with numbers on the axis."""
    left, top, right, bottom = box
    size, name = draws.between(10, 12), draws.pick(FACES[:3])
    kind = "bar" if draws.chance(0.6) else "line"
    unit = draws.pick((1, 10))
    levels = 10
    step = 5 if bottom - top < 130 else 2
    gap = width("100" if unit == 10 else "10", name, size) + 8
    plot = (left + gap, top + 10, right - 6, bottom - size - 8)
    pitch = width("mayy", name, size) + 2
    count = draws.between(2, max(2, min(7, (plot[2] - plot[0]) // pitch)))
    start = draws.below(12)
    if kind == "bar":
        colors = tuple(draws.sample(COLORS, count))
    else:
        colors = (draws.pick([color for color in COLORS if color != "white"]),) * count
    values = tuple(unit * draws.between(1, levels) for _ in range(count))
    labels = []
    for k in range(count):
        month = MONTHS[(start + k) % 12]
        middle = plot[0] + (2 * k + 1) * (plot[2] - plot[0]) // (2 * count)
        labels.append(_text(month, middle - width(month, name, size) // 2, bottom - size // 2 - 3, size, name))
    ticks = []
    for level in range(0, levels + 1, step):
        text = str(level * unit)
        y = plot[3] - (plot[3] - plot[1]) * level // levels
        ticks.append(_text(text, plot[0] - 4 - width(text, name, size), y, size, name))
    return Chart(box, plot, kind, levels * unit, step * unit, tuple(labels), tuple(ticks), colors, values)
