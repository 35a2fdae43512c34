"""Measures of one answer's text against right ones; each gives a float from 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eos_platform.common.errors import EosError
from eos_platform.tasks.data.question import letter
from eos_platform.tasks.metrics.vqa_text import read_textvqa, read_vqa

LONGEST = 4000  # characters of an answer that are looked at


def plain(text: str) -> str:
    """Without capitals, one space between words."""
    return " ".join(text.casefold().split())


def exact(output: str, answers: Sequence[str]) -> float:
    """1 where it is one of the answers but for capitals and spaces."""
    return float(plain(output) in map(plain, answers))


def contains(output: str, answers: Sequence[str]) -> float:
    """1 where one of the answers stands in it as whole words."""
    text = plain(output)
    return float(any(re.search(rf"(?<!\w){re.escape(plain(one))}(?!\w)", text) for one in answers))


def regex(output: str, answers: Sequence[str]) -> float:
    """1 where one of the answers, as a regular expression, is found in it (capitals and spaces count).

    Raises:
        EosError: an answer is no regular expression.
    """
    return float(any(compiled(one).search(output[:LONGEST].strip()) for one in answers))


def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression.

    Raises:
        EosError: it is none.
    """
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise EosError(f"answer is no regular expression: {error}") from None


def vqa(output: str, answers: Sequence[str], textvqa: bool = False) -> float:
    """Soft accuracy: of each answer left out in turn, a third for each other one that is given, at most 1; their mean.

    Of fewer than four answers it is 1 where one of them is given.
    """
    read = read_textvqa if textvqa else read_vqa
    return soft(read(output), [read(one) for one in answers])


def soft(text: str, reported: Sequence[str]) -> float:
    """The same of texts already read."""
    same = sum(one == text for one in reported)
    if len(reported) < 4:
        return float(same > 0)
    return sum(min(1.0, (same - (one == text)) / 3) for one in reported) / len(reported)


def anls(output: str, answers: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity of the nearest answer; below one half it is 0."""
    text, best = output[:LONGEST], 0.0
    for one in answers:
        longest = max(len(text.upper()), len(one.upper()))  # of the texts as they are: so the official tools
        if longest:
            near = 1 - distance(plain_lower(text), plain_lower(one)) / longest
            best = max(best, near)
        else:
            best = 1.0
    return best if best >= 0.5 else 0.0


def plain_lower(text: str) -> str:
    """In small letters, one space between words."""
    return " ".join(text.strip().lower().split())


def distance(one: str, other: str) -> int:
    """Levenshtein's."""
    if len(one) < len(other):
        one, other = other, one
    row = list(range(len(other) + 1))
    for place, letter_one in enumerate(one, 1):
        last, row[0] = row[0], place
        for at, letter_other in enumerate(other, 1):
            last, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, last + (letter_one != letter_other))
    return row[-1]


def relaxed(output: str, answers: Sequence[str]) -> float:
    """ChartQA's: a number within a twentieth of the right one, other text in the same letters but for capitals."""
    return float(any(_relaxed(output.strip(), one.strip()) for one in answers))


def _relaxed(text: str, reported: str) -> bool:
    one, other = number(text), number(reported)
    if one is not None and other:  # of a right answer of 0 no share can be taken: it must be the same text
        return abs(one - other) / abs(other) <= 0.05
    return text.lower() == reported.lower()


def number(text: str) -> float | None:
    """What ``float`` reads; a percentage is a share of 1; None: no number."""
    try:
        result = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return result if result == result else None


def yes_no(output: str) -> str:
    """The first of the words yes and no; empty: neither."""
    match = re.search(r"\b(yes|no)\b", output.casefold())
    return match[1] if match else ""


def chosen(output: str, choices: Sequence[str], count: int = 0) -> str:
    """The letter that an answer chooses: alone, in brackets, before a stop, after "answer is", or the choice's text.

    Empty: none of them, or two.
    """
    last = letter((len(choices) or count or 26) - 1)
    text = output.strip()
    for pattern in (
        rf"\(?([A-{last}])\)?[.:,)]?",
        rf"\(?([A-{last}])\)?[.:)](?=\s|$).*",
        rf"(?i:.*answer(?: is|:))\s*\(?([A-{last}])\)?(?:\W.*)?",
    ):
        if result := re.fullmatch(pattern, text, re.DOTALL):
            return str(result[1])
    if re.fullmatch(rf"[a-{last.lower()}]", text):
        return text.upper()
    same = [place for place, one in enumerate(choices) if plain(one).rstrip(".") == plain(text).rstrip(".")]
    return letter(same[0]) if len(same) == 1 else ""
