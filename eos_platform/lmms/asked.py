"""What lmms-eval's requests ask, apart from its classes: which go together, and what was answered before.

lmms-eval keeps the answers of a run only when all of a kind are there, and does not go on from a run that was killed.
Here every batch is kept as it comes, under a key of all that the answer depends on.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eos_platform.analysis.benchmark.store import Answers
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        text: the whole prompt, with placeholders of pictures.
        pictures: of it.
        most: tokens of the answer.
        until: texts that end it.
        key: of what was asked.
    """

    text: str
    pictures: tuple[Any, ...]
    most: int
    until: tuple[str, ...]
    key: str


def request(text: str, pictures: Sequence[Any], settings: Mapping[str, Any], name: str) -> Request:
    """A question.

    Args:
        text: the whole prompt.
        pictures: of it.
        settings: lmms-eval's ``gen_kwargs``.
        name: task, part and number of the question.

    Raises:
        EosError: it is to be sampled, or in beams: answers here are greedy.
    """
    warm = float(settings.get("temperature") or 0) > 0 and settings.get("do_sample") is None
    if settings.get("do_sample") or warm:
        raise EosError(f"task {shown(name)} asks for sampled answers; the model 'eos' writes greedily")
    if int(settings.get("num_beams") or 1) > 1:
        raise EosError(f"task {shown(name)} asks for beams; the model 'eos' writes greedily")
    until = settings.get("until") or ()
    until = (until,) if isinstance(until, str) else tuple(one for one in until if one)
    most = int(settings.get("max_new_tokens") or 16)
    digest = hashlib.sha256(repr((name, text, most, until)).encode("utf-8", "replace"))
    for one in pictures:
        stream = io.BytesIO()
        one.convert("RGB").save(stream, "BMP")
        digest.update(stream.getvalue())
    return Request(text, tuple(pictures), most, until, digest.hexdigest()[:32])


def batches(requests: Sequence[Request], left: Sequence[int], size: int) -> Iterator[list[int]]:
    """Numbers of questions that are asked together: of one length of answer, all with pictures or all without."""
    kinds: dict[tuple[int, bool], list[int]] = {}
    for number in left:
        one = requests[number]
        kinds.setdefault((one.most, bool(one.pictures)), []).append(number)
    for members in kinds.values():
        for start in range(0, len(members), size):
            yield members[start : start + size]


def cut(text: str, until: Sequence[str]) -> str:
    """An answer up to what ends it."""
    for one in until:
        text = text.partition(one)[0]
    return text


def kept_in(folder: str | None, facts: Mapping[str, Any]) -> Answers | None:
    """Answers of earlier runs of this model with this operator; None: nothing is kept."""
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(strict_json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:16]
    return Answers(Path(folder) / f"lmms-{name}.jsonl", facts)
