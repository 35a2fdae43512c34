"""JSON as RFC 8259 has it, and no key twice: the one way in which this package reads and writes it.

Python's own module lets the last of two equal keys win and takes NaN and Infinity, which are no JSON; so an operator
could lose its sites in silence, and a file be written that other readers refuse.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from eos_platform.common.errors import EosError, shorten


class NotJson(EosError, ValueError):
    """Text that is no JSON, or not the JSON of anything here."""


def loads(text: str, where: str = "text", *, infinity: str = "") -> Any:
    """The value that ``text`` says.

    Args:
        where: what is read, for the error.
        infinity: a pattern of places (``sites.0.transfer.tau``) where a bare ``Infinity`` is taken, as earlier
            versions wrote it.

    Raises:
        NotJson: not JSON, a key given twice, NaN or infinity (or a number as large), or half a surrogate pair.
    """
    try:
        constant = float if infinity else _constant
        data = json.loads(text, object_pairs_hook=_object, parse_constant=constant, parse_float=_finite)
        for place in not_finite(data) if infinity else ():
            if not re.fullmatch(infinity, place):
                raise ValueError(f"{shorten(place)} is not a finite number")
        if not text.isascii() or "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair cannot be written again
    except json.JSONDecodeError as error:
        raise NotJson(f"{where}: not JSON: {error.msg} (line {error.lineno})") from None
    except RecursionError:
        raise NotJson(f"{where}: not JSON: nested too deeply") from None
    except UnicodeEncodeError:
        raise NotJson(f"{where}: not JSON: half a surrogate pair in a string") from None
    except ValueError as error:  # ours, and numbers of thousands of digits
        raise NotJson(f"{where}: not JSON: {error}") from None
    return data


def dumps(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, ascii_only: bool = True, compact: bool = False
) -> str:
    """``value`` as JSON text.

    Args:
        compact: no spaces.

    Raises:
        NotJson: it holds NaN or infinity, or something that is no JSON.
    """
    try:
        return json.dumps(
            value,
            indent=indent,
            sort_keys=sort_keys,
            ensure_ascii=ascii_only,
            allow_nan=False,
            separators=(",", ":") if compact else None,
        )
    except (TypeError, ValueError, RecursionError) as error:
        place = None if isinstance(error, RecursionError) or "ircular" in str(error) else next(not_finite(value), None)
        raise NotJson(f"cannot be written as JSON: {f'{place} is not a finite number' if place else error}") from None


def plain(value: Any) -> Any:
    """``value`` with null where a measured number is NaN or infinite, which JSON cannot say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key '{shorten(twice)}' is given twice")
    return made


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{shorten(digits)} is too large for a number")
    return number


def not_finite(value: Any, path: str = "") -> Iterator[str]:
    """The places of numbers that are NaN or infinite, as dotted paths."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path or "it"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, inner in items:
        if isinstance(inner, (float, dict, list, tuple)):
            yield from not_finite(inner, f"{path}.{key}" if path else str(key))
