"""The one kind of error a person sees: what is wrong, where, and what would be right, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from eos_platform.addresses import mask
from eos_platform.addresses import redact as redact
from eos_platform.printable import printable


class EosError(Exception):
    """Bad input. The message is one line; the command line prints it and leaves with exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(mask(message).split())))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suffix such as ``; did you mean 'fastv'?``, or the list of known words when none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(words)}" if words else ""


def unknown(what: str, word: str, known: Iterable[str]) -> EosError:
    """The error for a name that nothing answers to."""
    return EosError(f"unknown {what} '{word}'{did_you_mean(word, known)}")


def explain(error: ValidationError, where: str, fields: Mapping[str, Iterable[str]] | None = None) -> EosError:
    """One line from pydantic's first complaint: ``where: path.to.key: what is wrong``.

    Args:
        where: the file or object that was read.
        fields: for a dotted path ('' is the top), the keys allowed there, for did-you-mean on misspelt keys.
    """
    first = error.errors()[0]
    path = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        *parent, key = first["loc"]
        known = _lookup(fields or {}, tuple(parent))
        return EosError(f"{where}: unknown key '{_dotted(first['loc'])}'{did_you_mean(str(key), known)}")
    if first["type"] == "missing":
        return EosError(f"{where}: missing key '{path}'")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "literal_error":
        known = [word.strip(" '") for word in str(first["ctx"]["expected"]).replace(" or ", ",").split(",")]
        at = f"{where}: {path}" if path else where
        return EosError(f"{at}: unknown value '{first['input']}'{did_you_mean(str(first['input']), known)}")
    shown = "" if first["type"] == "value_error" else f" (got {_short(first['input'])})"
    message = message[:1].lower() + message[1:]
    return EosError(f"{where}: {path}: {message}{shown}" if path else f"{where}: {message}{shown}")


def _dotted(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc)


def _lookup(fields: Mapping[str, Iterable[str]], parent: tuple[int | str, ...]) -> Iterable[str]:
    """Keys allowed at ``parent``; list positions in the path are written ``*`` in ``fields``."""
    return fields.get(".".join("*" if isinstance(part, int) else part for part in parent), ())


def shorten(text: str, most: int = 60) -> str:
    """``text``, its end cut off where it is longer than ``most`` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _short(value: Any) -> str:
    return shorten(redact(repr(value).replace("\n", " ")))  # before it is cut: half a URL is not known for one
