"""``files``: questions of the user's own about pictures on disk, one a line of a JSONL file.

    {"image": "photos/7.png", "question": "What colour is the door?", "answer": "red"}
    {"image": "photos/8.png", "question": "How many cats?", "answers": ["2", "two"], "group": "counting"}

``image`` is relative to the file, or absolute. A picture belongs to one split, decided by its bytes, so that copies of
it do too: 70 % search, 15 % validation, 15 % held out.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from eos_platform.common import strict_json
from eos_platform.common.boundary import words_of
from eos_platform.common.errors import EosError, did_you_mean, shown, unknown
from eos_platform.common.files import MEGABYTE, read_bytes, read_text, shown_path
from eos_platform.protocols import SPLITS, Example, Split

KEYS = ("image", "question", "answer", "answers", "group")
SHARES: dict[Split, float] = {"search": 0.7, "validation": 0.15, "heldout": 0.15}
LARGEST_FILE, LARGEST_PICTURE = 4096 * MEGABYTE, 256 * MEGABYTE
LONGEST = 100_000  # characters of a question or an answer
LISTED = 3  # bad rows in one error message


@dataclass(frozen=True)
class _Picture:
    split: Split
    key: str


class Files:
    """Questions of a JSONL file; an answer counts where it is a right one but for capitals and spaces.

    Attributes:
        data: the file.
        bad: what is wrong with the rows that are left out, with file and line.
    """

    name = "files"
    exact = False

    def __init__(self, data: str | Path, allow_bad: float = 0.0) -> None:
        """The file is read, and every picture looked at, but not opened.

        Args:
            data: the JSONL file.
            allow_bad: share of the rows that may be unusable.

        Raises:
            EosError: no such file, more bad rows than allowed, or none that is good.
        """
        if not isinstance(data, (str, Path)) or not str(data):
            raise EosError(f"task 'files': data: the path of a JSONL file is expected, not {shown(data)}")
        if isinstance(allow_bad, bool) or not isinstance(allow_bad, (int, float)) or not 0.0 <= allow_bad <= 1.0:
            raise EosError(f"task 'files': allow_bad: a share from 0 to 1 is expected, not {shown(allow_bad)}")
        self.data = Path(data)
        self._pictures: dict[Path, _Picture | str] = {}
        self._rows: dict[Split, list[Example]] = {split: [] for split in SPLITS}
        digest, bad = hashlib.sha256(), []
        groups: dict[str, None] = {}
        for number, text in self._lines():
            try:
                example, split = self._row(text)
            except EosError as error:
                bad.append(f"{shown_path(self.data)}: line {number}: {error}")
                continue
            digest.update(repr((example.question, example.answers, example.group, example.key)).encode())
            self._rows[split].append(example)
            groups.setdefault(example.group)
        self.bad = tuple(bad)
        self.groups = tuple(groups)
        self.version = digest.hexdigest()[:16]
        good = sum(map(len, self._rows.values()))
        if bad and len(bad) > allow_bad * (good + len(bad)):
            raise self._too_many(good + len(bad))
        if not good:
            raise EosError(f"{shown_path(self.data)}: no questions")

    def examples(self, split: Split, count: int) -> list[Example]:
        """The first ``count`` questions of a split in the file's order, or all there are.

        Raises:
            EosError: unknown split, or none of the pictures belongs to it.
        """
        if split not in self._rows:
            raise unknown("split", split, SPLITS)
        found = self._rows[split][:count]
        if not found:
            pictures = len({one.key for rows in self._rows.values() for one in rows})
            raise EosError(
                f"{shown_path(self.data)}: none of its {pictures} pictures belongs to the split '{split}', which gets "
                f"{SHARES[split]:.0%} of them, by their content; add pictures"
            )
        return found

    def score(self, output: str, example: Example) -> float:
        """1 where ``output`` is one of the right answers, whatever its capitals and spaces."""
        return float(_plain(output) in map(_plain, example.answers))

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Lines that are not empty, with their numbers."""
        text = read_text(self.data, "questions file", LARGEST_FILE)
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, line

    def _row(self, text: str) -> tuple[Example, Split]:
        """One line.

        Raises:
            EosError: what is wrong with it.
        """
        row = strict_json.loads(text, "row")
        if not isinstance(row, dict):
            raise EosError(f"a JSON object is expected, not {shown(row)}")
        for key in row:
            if key not in KEYS:
                raise EosError(f"unknown key {shown(key)}{did_you_mean(key, KEYS)}")
        question, group = _text(row, "question"), _text(row, "group") if "group" in row else "all"
        if "answer" in row and "answers" in row:
            raise EosError("both 'answer' and 'answers' are given")
        answers = row.get("answers", [row.get("answer")]) if "answers" in row or "answer" in row else None
        if answers is None:
            raise EosError("missing key 'answer' (or 'answers')")
        if not isinstance(answers, list) or not answers:
            raise EosError(f"answers: a list of texts is expected, not {shown(answers)}")
        answers = tuple(_checked(one, "answer") for one in answers)
        image = _text(row, "image")
        path = self.data.parent / image
        try:
            picture = self._picture(path)
        except EosError as error:
            raise EosError(str(error).replace(shown_path(path), shown(image))) from None
        return Example(partial(opened, path), question, answers, group, picture.key), picture.split

    def _picture(self, path: Path) -> _Picture:
        """What is known of a picture, read once however many questions are about it."""
        if path not in self._pictures:
            try:
                self._pictures[path] = _looked_at(path)
            except EosError as error:
                self._pictures[path] = str(error)
        found = self._pictures[path]
        if isinstance(found, str):
            raise EosError(found)
        return found

    def _too_many(self, rows: int) -> EosError:
        first, where = self.bad[:LISTED], f"{shown_path(self.data)}: "
        told = "; ".join(one.removeprefix(where)[:150] for one in first)
        more = f"; and {len(self.bad) - len(first)} more" if len(self.bad) > len(first) else ""
        remedy = f"--allow-bad {min(1.0, -(-1000 * len(self.bad) // rows) / 1000):g} leaves them out"
        room = 270 - len(where) - len(remedy) - len(more)
        return EosError(f"{where}{len(self.bad)} of {rows} rows cannot be used: {told[:room]}{more}; {remedy}")


def opened(path: Path) -> Image.Image:
    """The picture, as it is meant to be looked at, in three colours.

    Raises:
        EosError: it can no longer be read.
    """
    from PIL import ImageOps

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(read_bytes(path, "picture", LARGEST_PICTURE))) as found:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return ImageOps.exif_transpose(found).convert("RGB")
    except EosError:
        raise
    except Exception as error:  # Pillow's decoders have no common error
        raise EosError(f"picture {shown_path(path)} cannot be opened: {words_of(error)}") from None


def split_of(digest: bytes) -> Split:
    """The split that a picture of this SHA-256 belongs to."""
    place, least = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for split, share in SHARES.items():
        least += share
        if place < least:
            return split
    return "heldout"


def _looked_at(path: Path) -> _Picture:
    data = read_bytes(path, "picture", LARGEST_PICTURE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(data)).close()  # its head alone
    except Exception as error:
        raise EosError(f"picture {shown_path(path)} cannot be opened: {words_of(error)}") from None
    digest = hashlib.sha256(data).digest()
    return _Picture(split_of(digest), digest.hex())


def _text(row: dict[str, Any], key: str) -> str:
    if key not in row:
        raise EosError(f"missing key '{key}'")
    return _checked(row[key], key)


def _checked(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise EosError(f"{key}: text is expected, not {shown(value)}")
    if not value.strip():
        raise EosError(f"{key}: empty")
    if len(value) > LONGEST or "\0" in value:
        raise EosError(f"{key}: {len(value):,} characters, or a NUL among them")
    return value


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
