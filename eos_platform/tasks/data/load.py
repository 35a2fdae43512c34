"""Data as questions: every row read, every picture looked at once, splits decided, and what cannot be used listed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import shown_path
from eos_platform.protocols import Split
from eos_platform.tasks.data import films
from eos_platform.tasks.data.find import find
from eos_platform.tasks.data.looks import Looks
from eos_platform.tasks.data.media import Source, Spill
from eos_platform.tasks.data.pictures import Look, ahead, look, quiet_bombs
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.data.readers.archives import Place, place_of
from eos_platform.tasks.data.rows import Bad, Raw
from eos_platform.tasks.data.schema import Meant, meant
from eos_platform.tasks.data.splits import Together, key_of, split_of

MOST_ROWS = 100_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """A question whose pictures are there.

    Attributes:
        place: file and line.
        features: what the row says.
        sources: of its pictures, or of its film.
        looks: what is known of them.
        split: that it belongs to.
        id: of the row, unique.
    """

    place: str
    features: Meant
    sources: tuple[Source, ...]
    looks: tuple[Look, ...]
    split: Split
    id: str

    @property
    def key(self) -> str:
        """Names what it shows."""
        return key_of([one.digest for one in self.looks])


@dataclass(frozen=True)
class Loaded:
    """Data, read.

    Attributes:
        form: the format, in words.
        rows: that can be used, in order.
        bad: that cannot.
    """

    form: str
    rows: tuple[Row, ...]
    bad: tuple[Bad, ...]

    @property
    def total(self) -> int:
        """Rows in all."""
        return len(self.rows) + len(self.bad)


def load(
    data: str,
    *,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    part: str = "",
    config: str = "",
    streaming: bool = False,
    whole: bool = False,
    most: int | None = None,
) -> Loaded:
    """Read data.

    Args:
        data: see ``find``.
        images: a folder, zip or tar that pictures are named from; None: the data's own folder.
        columns: see ``meant``.
        part: see ``find``.
        config: see ``find``.
        streaming: see ``find``.
        whole: decode every picture, not its head alone.
        most: rows that are read; None: all.

    Raises:
        EosError: nothing there, or of no known format. What is wrong with single rows is in the result.
    """
    result = find(data, part, config, streaming)
    where = place_of(images, result.beside)
    bad: list[Bad] = []
    read = list(_read(counted("reading rows", result.rows), where, columns, bad, most))
    looks = _looked(dict.fromkeys((source, one[1].film) for one in read for source in one[2]), whole)
    rows, together = [], Together()
    names: dict[str, str] = {}
    asked = any(one[1].answers for one in read)
    for place, reported, sources in read:
        seen = [looks[source, reported.film] for source in sources]
        wrong = next((one for one in seen if isinstance(one, str)), None)
        if wrong is not None:
            bad.append(Bad(place, wrong, _kind(wrong)))
        elif asked and not reported.answers:
            bad.append(Bad(place, "missing key 'answer' (or 'answers'), which other rows have", "no answer"))
        elif reported.id and reported.id in names:
            bad.append(Bad(place, f"id {shown(reported.id)} was used before: {names[reported.id]}", "id used twice"))
        else:
            if reported.id:
                names[reported.id] = place.rpartition(": ")[2]
            known = tuple(one for one in seen if isinstance(one, Look))
            together.join(
                [*(one.digest for one in known), *([("together", reported.together)] if reported.together else [])]
            )
            rows.append(Row(place, reported, sources, known, "search", reported.id))
    return Loaded(result.form, tuple(_named(_split(rows, together, bad))), tuple(sorted(bad, key=_at)))


_Read = tuple[str, Meant, tuple[Source, ...]]


def _read(
    rows: Iterable[Raw | Bad],
    where: Place,
    columns: Mapping[str, str] | None,
    bad: list[Bad],
    most: int | None,
) -> Iterator[_Read]:
    """Rows that mean something, their pictures found but not opened."""
    spill = Spill()
    for number, row in enumerate(rows):
        if number == (MOST_ROWS if most is None else most):
            return
        if isinstance(row, Bad):
            bad.append(row)
            continue
        try:
            for reported in meant(row.values, columns):
                sources = tuple(_source(one, where, spill, row.place) for one in reported.pictures)
                name = f"{reported.id}.{reported.turn}" if reported.turn and reported.id else reported.id
                yield row.place, replace(reported, pictures=(), id=name), sources
        except EosError as error:
            bad.append(Bad(row.place, str(error), _kind(str(error))))


def _source(picture: Any, where: Place, spill: Spill, place: str) -> Source:
    if isinstance(picture, str):
        return where.find(picture)
    if isinstance(picture, bytes):
        return spill.keep(picture, place)
    result: Source = picture
    return result


_Shown = tuple[Source, bool]  # what is to be looked at, and whether as a film


def _looked(things: Iterable[_Shown], whole: bool) -> dict[_Shown, Look | str]:
    """What is known of every picture or film, or what is wrong with it."""
    kept, left = Looks(), []
    result: dict[_Shown, Look | str] = {}
    for source, film in things:
        known = kept.get(source, whole, film) if isinstance(source, Path) else None
        if known is None:
            left.append((source, film))
        else:
            result[source, film] = known

    def run(thing: _Shown) -> Look:
        source, film = thing
        return films.look(source, whole) if film else look(source, whole)

    with quiet_bombs():
        for (source, film), one in counted("looking at pictures", ahead(run, left), len(left)):
            result[source, film] = _without_path(one, source) if isinstance(one, EosError) else one
            if isinstance(source, Path) and isinstance(one, Look):
                kept.put(source, one, whole, film)
    kept.close()
    return result


def _without_path(error: EosError, source: Source) -> str:
    """What is wrong, the picture by its own name: rows already name the folder."""
    if isinstance(source, Path):
        return str(error).replace(shown_path(source), shown(source.name))
    return str(error)


def _split(rows: list[Row], together: Together, bad: list[Bad]) -> Iterator[Row]:
    """Rows with their splits: told ones first, for all that is bound to them; others by content."""
    reported: dict[bytes, tuple[Split, str]] = {}
    for row in rows:
        if row.features.split is not None:
            reported.setdefault(
                together.least(row.looks[0].digest), (row.features.split, row.place.rpartition(": ")[2])
            )
    for row in rows:
        least = together.least(row.looks[0].digest)
        split, place = reported.get(least, (split_of(least), ""))
        if row.features.split not in (None, split):
            text = f"split '{row.features.split}', but what it shows is in '{split}' too ({place})"
            bad.append(Bad(row.place, text, "a picture in two splits"))
        else:
            yield replace(row, split=split)


def _named(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with an id each: their own, else one made of what they show and ask."""
    seen: dict[str, int] = {}
    for row in rows:
        if row.id:
            yield row
            continue
        text = repr((row.key, row.features.question, row.features.choices)).encode("utf-8", "surrogatepass")
        made = hashlib.sha256(text).hexdigest()[:16]
        seen[made] = seen.get(made, 0) + 1
        yield replace(row, id=made if seen[made] == 1 else f"{made}.{seen[made]}")


def _kind(reason: str) -> str:
    """A reason without what is one row's own: names in quotes, and numbers."""
    bare = re.sub(r"""(['"]).*?\1(?!\w)|\[.*?\]""", "...", reason)
    return re.sub(r"0x[0-9a-f]+|\d[\d,.x]*", "N", bare)[:80]


def _at(one: Bad) -> tuple[str, int]:
    file, _, place = one.place.rpartition(": ")
    digits = re.findall(r"\d+", place)
    return file, int(digits[-1]) if digits else 0
