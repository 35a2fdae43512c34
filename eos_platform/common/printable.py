"""Text of other people's choosing (names, descriptions, paths, messages of libraries) made safe to show.

A name may hold escape sequences that a terminal obeys, newlines that forge lines of a log, marks that reverse the
reading direction, or thousands of characters. Everything that shows such text shows it through one of these.
"""

from __future__ import annotations

import html
import re
import unicodedata

NAME = 60  # characters of a name in a line
LABEL = 200  # characters of a name in a file that is accepted
JOINERS = "\u200c\u200d"  # needed by several scripts and by emoji, and harmless
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, invisible formatting, lone surrogates, line and paragraph ends
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$!&])")


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and character not in JOINERS


def printable(text: object, most: int | None = None) -> str:
    r"""``text`` in one line without anything a terminal or a log would obey: ``\x1b``, ``\u202e`` as so many letters.

    Args:
        most: characters; what is longer is cut at its end.
    """
    shown = str(text)
    if most is not None and len(shown) > most:
        shown = shown[: most - 1] + "…"
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(_visible(character) for character in shown)


def lines_of(text: object) -> str:
    """The same, but line ends stay: for text that may have several lines."""
    return "\n".join(map(printable, str(text).split("\n")))


def _visible(character: str) -> str:
    if character in "\n\r\t\u2028\u2029":
        return " "
    return character.encode("unicode_escape").decode() if _is_hidden(character) else character


def markdown(text: object, most: int | None = None) -> str:
    """``printable`` text as Markdown shows it: nothing in it is markup, a link, HTML or the end of a table's cell."""
    return _MARKDOWN.sub(r"\\\1", printable(text, most)).replace("\\<", "&lt;").replace("\\&", "&amp;")


def unmarked(text: str) -> str:
    """What ``markdown`` was given."""
    return html.unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", text))


def check_label(text: str) -> str:
    """A name that a file gives to something: for pydantic.

    Raises:
        ValueError: it holds characters that do not show, or is longer than ``LABEL``.
    """
    if len(text) > LABEL:
        raise ValueError(f"a name has at most {LABEL} characters, not {len(text)}")
    return check_characters(text)


def check_characters(text: str, allowed: str = "") -> str:
    """``text``, when all of its characters show.

    Raises:
        ValueError: which one does not.
    """
    for place, character in enumerate(text):
        if _is_hidden(character) and character not in allowed:
            shown = character.encode("unicode_escape").decode()
            raise ValueError(f"character {place + 1} ({shown}) is a control character or invisible")
    return text
