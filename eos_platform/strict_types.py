"""Numbers that are numbers: types of fields in the data that files bring.

pydantic takes ``true``, ``"2"`` and ``1.0`` for whole numbers unless told otherwise; where files say what a search
does, those are slips.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Strict

Int = Annotated[int, Strict()]  # 2, not 2.0, "2" or true
Real = Annotated[float, Strict()]  # 2 or 2.0, not "2" or true
Bool = Annotated[bool, Strict()]  # true or false, not 1 or "yes"

_INFINITE = ("inf", "+inf", "infinity", "+infinity")


def _infinity(value: Any) -> Any:
    return float("inf") if isinstance(value, str) and value.lower() in _INFINITE else value


MaybeInfinite = Annotated[float, Strict(), BeforeValidator(_infinity)]  # JSON has no infinity: a word stands for it

WORDS = {"yes": True, "on": True, "no": False, "off": False}


def _flag(value: Any) -> Any:
    return WORDS.get(value.lower(), value) if isinstance(value, str) else value


Flag = Annotated[bool, Strict(), BeforeValidator(_flag)]  # of YAML files: yes, no, on and off, too
