"""What a row means: pictures, a question, right answers. One line says what is wrong with a row that means nothing.

=============================== ================================================================================
``image``, ``images``, ``video`` exactly one: a path (relative to the file, or a member of ``images=``), or bytes
``question`` or ``messages``     exactly one; ``<image>`` in the text says where a picture stands
``answer`` or ``answers``        text; with ``choices``: a letter, the choice itself, or its place from 0; or neither
``choices``                      at least two texts, all different
``group``                        what kind of question it is
``together``                     rows of one value share a split, as rows of one picture do
``id``, ``split``                unique text; search (or train), validation (or val, dev), heldout (or test)
``extra``                        anything else, not looked at
=============================== ================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eos_platform.common.errors import EosError, did_you_mean, shown
from eos_platform.protocols import Split
from eos_platform.tasks.data.conversations import turns_of
from eos_platform.tasks.data.question import MARK, letter, marks
from eos_platform.tasks.data.texts import LONGEST, checked, no_text

FILM_MARK = "<video>"
PICTURES = ("image", "images", "video")
KEYS = (*PICTURES, "question", "messages", "conversations", "answer", "answers", "choices", "group", "together", "id",
        "split", "extra", "image_base64")  # fmt: skip
SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("search", "train", "training"), "search"),
    **dict.fromkeys(("validation", "val", "dev", "valid"), "validation"),
    **dict.fromkeys(("heldout", "held-out", "test"), "heldout"),
}
MOST_CHOICES = 26
MOST_PICTURES = 256  # of one question


@dataclass(frozen=True, slots=True)
class Meant:
    """A row that means something, its pictures not yet looked for.

    Attributes:
        pictures: paths, or where the bytes are.
        film: whether they are one film.
        question: text, with ``<image>`` where a picture stands if it is not in front.
        answers: right ones; of choices, the letter; none: not told.
        choices: of multiple choice.
        group: what kind it is.
        together: what it shares a split with.
        id: its own; empty: none told.
        split: that it must be in; None: by the picture.
        turn: of a conversation that became several questions.
    """

    pictures: tuple[Any, ...]
    film: bool
    question: str
    answers: tuple[str, ...]
    choices: tuple[str, ...]
    group: str
    together: str
    id: str
    split: Split | None
    turn: int = 0


def meant(values: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Iterator[Meant]:
    """The questions of a row: one, or one for each turn of a conversation.

    Args:
        values: by column.
        columns: names here (``question``) of names there (``query``); columns there that are nobody's are left out.

    Raises:
        EosError: what is wrong.
    """
    values = _renamed(values, columns)
    for key in values:
        if key not in KEYS:
            raise EosError(f"unknown key {shown(key)}{did_you_mean(str(key), KEYS)}")
    pictures, film = _pictures(values)
    group = _text(values, "group") if "group" in values else "all"
    together = _text(values, "together") if "together" in values else ""
    name = _id(values)
    split = _split(values["split"]) if "split" in values else None
    for turn, (question, answers) in enumerate(_asked(values)):
        choices = _choices(values)
        if choices and answers:
            answers = (_letter(answers[0], choices),)
        question = _of_film(question) if film else _marked(question, len(pictures))
        texts = tuple(checked(one, "answer") if isinstance(one, str) else no_text(one, "answer") for one in answers)
        yield Meant(pictures, film, question, texts, choices, group, together, name, split, turn)


def _renamed(values: Mapping[str, Any], columns: Mapping[str, str] | None) -> dict[str, Any]:
    if not columns:
        return dict(values)
    for there in columns.values():
        if there not in values and there in columns.values() and not _optional(columns, there):
            raise EosError(f"no column {shown(there)}{did_you_mean(there, map(str, values))}")
    back = {there: here for here, there in columns.items()}
    return {back.get(key, key): value for key, value in values.items() if key in back or key in KEYS}


def _optional(columns: Mapping[str, str], there: str) -> bool:
    here = next(key for key, value in columns.items() if value == there)
    return here in ("answer", "answers", "choices", "group", "together", "id", "split", "extra")


def _pictures(values: Mapping[str, Any]) -> tuple[tuple[Any, ...], bool]:
    given = [key for key in (*PICTURES, "image_base64") if key in values]
    if len(given) != 1:
        reported = f"has {' and '.join(given)}" if given else "has none of them"
        raise EosError(f"missing key 'image'; exactly one of image, images, video: {reported}" if not given
                       else f"exactly one of image, images, video: {reported}")  # fmt: skip
    key = given[0]
    value = values[key]
    if key == "image_base64":
        from eos_platform.tasks.data.readers.cells import from_base64

        return (from_base64(_text(values, key, None), "image_base64"),), False
    if key != "images":
        return (_picture(value, key),), key == "video"
    if not isinstance(value, (list, tuple)) or not value:
        raise EosError(f"images: a list of pictures is expected, not {shown(value)}")
    if len(value) > MOST_PICTURES:
        raise EosError(f"images: {len(value)} pictures; the most is {MOST_PICTURES}")
    return tuple(_picture(one, "images") for one in value), False


def _picture(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return checked(value, key)
    if hasattr(value, "read") or isinstance(value, bytes):
        return value
    if isinstance(value, dict) and isinstance(value.get("path"), str) and not value.get("bytes"):
        return checked(value["path"], key)
    if isinstance(value, dict) and isinstance(value.get("bytes"), str):
        from eos_platform.tasks.data.readers.cells import from_base64

        return from_base64(value["bytes"], f"{key}.bytes")
    raise EosError(f"{key}: text (a path) is expected, not {shown(value)}")


def _asked(values: Mapping[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """Questions with their answers."""
    reported = [key for key in ("question", "messages", "conversations") if key in values]
    if len(reported) != 1:
        raise EosError(
            "missing key 'question' (or 'messages')" if not reported else f"exactly one of {', '.join(reported)}"
        )
    if "answer" in values and "answers" in values:
        raise EosError("both 'answer' and 'answers' are given")
    given: tuple[Any, ...] = ()
    if "answers" in values:
        given = _list(values["answers"])
    elif "answer" in values:
        given = (values["answer"],)
    if reported[0] == "question":
        return [(_text(values, "question"), given)]
    turns = turns_of(values[reported[0]], reported[0])
    if given and (len(turns) > 1 or turns[0][1]):
        raise EosError(f"the answer stands in '{reported[0]}' and outside of it")
    return [(question, answers or given) for question, answers in turns]


def _list(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise EosError(f"answers: a list of texts is expected, not {shown(value)}")
    return tuple(one["answer"] if isinstance(one, dict) and "answer" in one else one for one in value)


def _choices(values: Mapping[str, Any]) -> tuple[str, ...]:
    if "choices" not in values:
        return ()
    given = values["choices"]
    if not isinstance(given, list) or not 2 <= len(given) <= MOST_CHOICES:
        raise EosError(f"choices: a list of 2 to {MOST_CHOICES} texts is expected, not {shown(given)}")
    result = tuple(checked(one, "choices") for one in given)
    if len(set(result)) < len(result):
        raise EosError("choices: two of them are the same")
    return result


def _letter(answer: Any, choices: tuple[str, ...]) -> str:
    """The letter of the right choice."""
    last = letter(len(choices) - 1)
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(choices):
            raise EosError(f"answer {answer} is not a place in {len(choices)} choices (0 is the first)")
        return letter(answer)
    text = checked(answer, "answer") if isinstance(answer, str) else no_text(answer, "answer")
    if text in choices:
        result = letter(choices.index(text))
        if len(text) == 1 and "A" <= text.upper() <= last and text.upper() != result:
            raise EosError(f"answer {shown(text)} is the letter of one choice and the text of another")
        return result
    if len(text.strip()) == 1 and "A" <= text.strip().upper() <= last:
        return text.strip().upper()
    raise EosError(f"answer {shown(text)} is none of the choices {shown(list(choices))}, nor a letter A-{last}")


def _marked(question: str, pictures: int) -> str:
    """The question; of one picture that stands in front, as usual, without a mark."""
    count = marks(question)
    if not count:
        return question
    if count != pictures:
        raise EosError(f"{count} {MARK} in the question, {pictures} picture{'s' if pictures > 1 else ''}")
    front, rest = MARK * pictures, question.replace("\n", "")
    if rest.startswith(front) or (pictures == 1 and question.startswith(MARK)):
        bare = question
        for _ in range(pictures):
            bare = bare.removeprefix(MARK).removeprefix("\n")
        if marks(bare) == 0:
            return checked(bare, "question")
    if not question.replace(MARK, "").strip():
        raise EosError("question: empty")
    return question


def _of_film(question: str) -> str:
    """The question about a film, whose frames stand in front of it, without a mark for them there."""
    bare = question
    for mark in (MARK, FILM_MARK):
        bare = bare.removeprefix(mark).removeprefix("\n")
    if count := marks(bare) + bare.count(FILM_MARK):
        raise EosError(f"{count} {MARK} or {FILM_MARK} inside the question of a film; its frames stand in front")
    return checked(bare, "question")


def _id(values: Mapping[str, Any]) -> str:
    if "id" not in values:
        return ""
    if isinstance(values["id"], int) and not isinstance(values["id"], bool):
        return str(values["id"])  # names a row, is no answer
    return _text(values, "id")


def _split(value: Any) -> Split:
    if not isinstance(value, str) or value.lower() not in SPLIT_NAMES:
        near = did_you_mean(value if isinstance(value, str) else "", SPLIT_NAMES)
        raise EosError(f"unknown split {shown(value)}{near}")
    return SPLIT_NAMES[value.lower()]


def _text(values: Mapping[str, Any], key: str, most: int | None = LONGEST) -> str:
    if key not in values:
        raise EosError(f"missing key '{key}'")
    return checked(values[key], key, most)
