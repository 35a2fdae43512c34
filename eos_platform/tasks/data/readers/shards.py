"""WebDataset shards: members of a tar that go by one stem are one row; pictures stay in the tar until wanted.

``000001.png + 000001.json`` (the row's fields), or text files whose endings are fields: ``000001.question.txt``.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import shown_path
from eos_platform.tasks.data.media import Span
from eos_platform.tasks.data.readers.archives import members
from eos_platform.tasks.data.rows import Bad, Raw, Rows

PICTURES = ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff")
FILMS = ("mp4", "mkv", "webm", "mov", "avi")


def rows(path: Path) -> Rows:
    """The rows of a shard.

    Raises:
        EosError: no tar, compressed, or cut off.
    """
    where = shown_path(path)
    for key, some in groupby(members(path), lambda member: _key(member.name)):
        place = f"{where}: {key}"
        try:
            yield Raw(place, _row(list(some)))
        except (EosError, UnicodeDecodeError) as error:
            text = str(error) if isinstance(error, EosError) else "text that is not UTF-8"
            yield Bad(place, text, "unreadable member")


def _key(name: str) -> str:
    """Folder and stem, up to the first dot of the name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _row(some: list[Span]) -> dict[str, object]:
    fields: dict[str, object] = {}
    pictures: list[Span] = []
    films: list[Span] = []
    for member in some:
        ending = member.name.rpartition("/")[2].partition(".")[2].lower()
        last = ending.rpartition(".")[2]
        if last in PICTURES:
            pictures.append(member)
        elif last in FILMS:
            films.append(member)
        elif last == "json":
            result = strict_json.loads(member.read().decode("utf-8-sig"), "its .json")
            if not isinstance(result, dict):
                raise EosError(f"its .json: an object is expected, not {shown(result)}")
            fields |= result
        elif last == "txt":
            name = ending.rpartition(".")[0] or "question"
            fields[name] = member.read().decode("utf-8-sig").strip("\r\n")
        else:
            raise EosError(f"member {shown(member.name)} is neither a picture nor .json nor .txt")
    if pictures:
        fields |= {"image": pictures[0]} if len(pictures) == 1 else {"images": pictures}
    if films:
        fields["video"] = films[0]
    return fields
