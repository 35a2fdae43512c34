"""The one kind of error a person sees: what is wrong, where, and what would be right, in one line."""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from eos_platform.common.addresses import mask
from eos_platform.common.addresses import redact as redact
from eos_platform.common.printable import printable

if TYPE_CHECKING:  # a third of the time that ``eos --help`` takes to import
    from pydantic import ValidationError

_CUT = 2000  # characters of a text that are looked at at all
_LINE = 295  # of a message
_LIST = 180  # of the names in it that would be right


class EosError(Exception):
    """Bad input. The message is one line; the command line prints it and leaves with exit code 2."""

    def __init__(self, message: str) -> None:
        line = printable(" ".join(mask(message[:_CUT]).split()))
        super().__init__(line if len(line) <= _LINE else f"{line[: _LINE - 83]}...{line[-80:]}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suffix such as ``; did you mean 'fastv'?``, or the list of known words when none is near."""
    words, word = sorted(brief(name) for name in known), str(word)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6) if len(word) <= 200 else []
    if near:
        return f"; did you mean '{near[0]}'?"
    if not words:
        return ""
    listed = 1 + max(at for at in range(len(words)) if at == 0 or len(", ".join(words[: at + 1])) <= _LIST)
    return f"; known: {', '.join(words[:listed])}" + (f" and {len(words) - listed} more" if listed < len(words) else "")


def unknown(what: str, word: str, known: Iterable[str]) -> EosError:
    """The error for a name that nothing answers to."""
    return EosError(f"unknown {what} {shown(word)}{did_you_mean(word, known)}")


def expected(name: str, what: str, got: object) -> EosError:
    """The error for an argument of the wrong type: ``model: the name of a model is expected, not 5``."""
    plain = got is None or isinstance(got, (str, bytes, int, float, complex, list, tuple, dict, set, os.PathLike))
    return EosError(f"{name}: {what} is expected, not {shown(got) if plain else f'a {type(got).__name__}'}")


def explain(error: ValidationError, where: str, fields: Mapping[str, Iterable[str]] | None = None) -> EosError:
    """One line from pydantic's first complaint: ``where: path.to.key: what is wrong``.

    Args:
        where: the file or object that was read.
        fields: for a dotted path ('' is the top), the keys allowed there, for did-you-mean on misspelt keys.
    """
    first = error.errors(include_url=False)[0]
    path = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        *parent, key = first["loc"]
        known = _lookup(fields or {}, tuple(parent))
        return EosError(f"{where}: unknown key '{path}'{did_you_mean(str(key), known)}")
    if first["type"] == "missing":
        return EosError(f"{where}: missing key '{path}'")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "literal_error":
        known = [word.strip(" '") for word in str(first["ctx"]["expected"]).replace(" or ", ",").split(",")]
        at = f"{where}: {path}" if path else where
        given = first["input"]
        near = did_you_mean(given if isinstance(given, str) else "", known)
        return EosError(f"{at}: unknown value {shown(given)}{near}")
    got = "" if first["type"] == "value_error" else f" (got {shown(first['input'])})"
    message = message[:1].lower() + message[1:]
    return EosError(f"{where}: {path}: {message}{got}" if path else f"{where}: {message}{got}")


def _dotted(loc: tuple[int | str, ...]) -> str:
    return brief(".".join(str(part)[:_CUT] for part in loc[:20]), 60)


def _lookup(fields: Mapping[str, Iterable[str]], parent: tuple[int | str, ...]) -> Iterable[str]:
    """Keys allowed at ``parent``; list positions in the path are written ``*`` in ``fields``."""
    return fields.get(".".join("*" if isinstance(part, int) else part for part in parent), ())


def shorten(text: str, most: int = 60) -> str:
    """``text``, its end cut off where it is longer than ``most`` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


_LONG_INT = 10**40


class _Brief(reprlib.Repr):
    """``repr`` whose work is bounded, whatever the value: nothing long is made to be cut afterwards."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxother, self.maxstring = 3, 4, length, length
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 6

    def repr_str(self, value: str, level: int) -> str:
        cut = repr(redact(value[:_CUT]))  # masked before it is cut: half a URL is not known for one
        return cut if len(cut) <= self.maxstring else cut[: self.maxstring - 4] + "..." + cut[0]

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value[: self.maxstring]) + ("..." if len(value) > self.maxstring else "")

    def repr_int(self, value: int, level: int) -> str:
        if -_LONG_INT < value < _LONG_INT:
            return repr(value)
        return f"a whole number of {value.bit_length()} bits"  # thousands of digits cannot even be written


def shown(value: Any, length: int = 60) -> str:
    """``value`` for a message: its ``repr`` in at most ``length`` printable characters, secrets masked.

    The work is bounded too, so that a value of a file can be shown whatever it is: an alias that names itself a
    billion times, a number of a million digits, an object whose ``repr`` fails.
    """
    text = printable(redact(_Brief(length).repr(value)))
    return shorten(text, length)


def brief(text: str, length: int = 60) -> str:
    """A text that a person typed, for a message: as ``shown``, without quotation marks."""
    safe = printable(redact(text[:_CUT]))
    return safe if len(safe) <= length else safe[: length - 3] + "..."
