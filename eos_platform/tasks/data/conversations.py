"""Turns of a conversation as questions: LLaVA's ``conversations`` and ``messages`` of chat."""

from __future__ import annotations

from typing import Any

from eos_platform.common.errors import EosError, shown
from eos_platform.tasks.data.question import MARK
from eos_platform.tasks.data.texts import checked


def turns_of(value: Any, key: str) -> list[tuple[str, tuple[str, ...]]]:
    """Each user turn with what was answered; what was said before is not told again.

    Raises:
        EosError: no list of turns, or turns of anybody but user and assistant, one after the other.
    """
    who, what = ("from", "value") if key == "conversations" else ("role", "content")
    if not isinstance(value, list) or not value:
        raise EosError(f"{key}: a list of turns is expected, not {shown(value)}")
    turns: list[tuple[str, tuple[str, ...]]] = []
    for place, turn in enumerate(value):
        if not isinstance(turn, dict) or not isinstance(turn.get(who), str):
            raise EosError(f"{key}.{place}: an object with '{who}' and '{what}' is expected, not {shown(turn)}")
        text = _content(turn.get(what), f"{key}.{place}.{what}")
        role = turn[who].lower()
        if role in ("user", "human"):
            turns.append((checked(text, f"{key}.{place}"), ()))
        elif role in ("assistant", "gpt") and turns and not turns[-1][1]:
            turns[-1] = turns[-1][0], (checked(text, f"{key}.{place}"),)
        else:
            raise EosError(f"{key}.{place}: {shown(turn[who])} has no turn here; user and assistant alternate")
    return turns


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise EosError(f"{where}: text is expected, not {shown(value)}")
    parts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image":
            parts.append(MARK)
        elif kind == "text" and isinstance(part.get("text"), str):
            parts.append(part["text"])
        else:
            raise EosError(f"{where}: a part of type 'text' or 'image' is expected, not {shown(part)}")
    return "".join(parts)
