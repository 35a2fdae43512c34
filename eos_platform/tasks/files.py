"""``files``: questions of the user's own, in the formats that people keep them in (``tasks/data``).

    {"image": "photos/7.png", "question": "What colour is the door?", "answer": "red"}
    {"image": "photos/8.png", "question": "How many cats?", "answers": ["2", "two"], "group": "counting"}
    {"images": ["a.png", "b.png"], "question": "Which is older?", "choices": ["the first", "the second"], "answer": "B"}

``image`` is relative to the file, or absolute. A picture belongs to one split, decided by its bytes, so that copies of
it do too: 70 % search, 15 % validation, 15 % held out. Without answers, what the unreduced model writes stands for
them: an operator is then to change as little as it can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from eos_platform.common.errors import EosError, shown, unknown
from eos_platform.common.files import shown_path
from eos_platform.protocols import SPLITS, Example, Split
from eos_platform.tasks.data import films
from eos_platform.tasks.data.counting import summed_up, turned, turns, units
from eos_platform.tasks.data.load import MOST_ROWS, Loaded, Row, load
from eos_platform.tasks.data.media import Source
from eos_platform.tasks.data.pictures import opened
from eos_platform.tasks.data.question import Question
from eos_platform.tasks.data.rows import Bad, columns_of
from eos_platform.tasks.data.splits import SHARES, split_of
from eos_platform.tasks.data.wording import Wording
from eos_platform.tasks.metrics.registry import METRICS, Metric, called_for

__all__ = ["Files", "opened", "split_of"]
LISTED = 3  # bad rows in one error message


class Files:
    """Questions of a user's data; by default an answer counts where it is a right one but for capitals and spaces.

    Attributes:
        data: where they are.
        bad: what is wrong with the rows that are left out, with file and line.
        loaded: the rows, and those that are left out, by reason.
        metric: its name.
        why: it was chosen.
    """

    name = "files"
    exact = False
    whole = False  # pictures are not decoded when looked at
    least = 1  # rows

    def __init__(
        self,
        data: str | Path,
        allow_bad: float = 0.0,
        images: str | Path | None = None,
        columns: str | None = None,
        metric: str | None = None,
        prompt: str | None = None,
        part: str = "",
        config: str = "",
        streaming: bool = False,
        frames: int = films.FRAMES,
        answers: str = "given",
        max_tokens: int = 0,
        rows: int = 0,
        circular: bool = False,
    ) -> None:
        """The data is read, and every picture looked at, but not decoded.

        Args:
            data: a JSONL, JSON, CSV, TSV, Parquet or tar file, a folder, or ``hub:OWNER/NAME``.
            allow_bad: share of the rows that may be unusable.
            images: a folder, zip or tar that pictures are named from; None: the data's own folder.
            columns: other names of columns, ``question=query,answer=label``.
            metric: what an answer is worth; None: as the rows call for.
            prompt: ``plain``, ``short``, or a text with ``{question}``; None: plain, and options where there are any.
            part: of a ``datasets`` folder or name, which split of it; of a folder, which folder inside.
            config: of a name on the Hub.
            streaming: rows of the Hub are read while they come.
            frames: of a film that are shown.
            answers: ``given``, or ``none``: they are not looked at.
            max_tokens: that an answer may take; 0: as the metric needs.
            rows: of the data that are read, the first ones; 0: all.
            circular: a question with choices is asked once for each of them, their order turned on, and counts where
                all of that is right.

        Raises:
            EosError: no such data, more bad rows than allowed, or none that is good.
        """
        if not isinstance(data, (str, Path)) or not str(data):
            raise EosError(f"task 'files': data: the path of a JSONL file is expected, not {shown(data)}")
        if isinstance(allow_bad, bool) or not isinstance(allow_bad, (int, float)) or not 0.0 <= allow_bad <= 1.0:
            raise EosError(f"task 'files': allow_bad: a share from 0 to 1 is expected, not {shown(allow_bad)}")
        _check_whole(frames, "frames", 1, films.MOST_FRAMES)
        _check_whole(max_tokens, "max_tokens", 0, 4096)
        _check_whole(rows, "rows", 0, MOST_ROWS)
        if answers not in ("given", "none"):
            raise EosError(f"task 'files': answers: 'given' or 'none' is expected, not {shown(answers)}")
        if not isinstance(circular, bool):
            raise EosError(f"task 'files': circular: true or false is expected, not {shown(circular)}")
        self.data, self._frames, self.max_tokens, self.circular = str(data), frames, max_tokens, circular
        self._wording = Wording.of(prompt)
        result = METRICS.get_named(metric) if metric else None
        names = columns_of(columns)
        self.loaded = load(
            str(data),
            images=images,
            columns=names,
            part=part,
            config=config,
            streaming=streaming,
            whole=self.whole,
            most=rows or None,
        )
        self._keep(self.loaded, result, metric, answers == "none")
        if self.bad and len(self.bad) > allow_bad * self.loaded.total:
            raise self.too_many()
        if len(self.loaded.rows) < self.least:
            raise EosError(f"{shown_path(self.data)}: no questions")

    def _keep(self, loaded: Loaded, metric: Metric | None, name: str | None, none: bool) -> None:
        rows = loaded.rows
        called, self.why = called_for(() if none else ((row.features.answers, row.features.choices) for row in rows))
        self.metric = name or called
        self._metric = metric or METRICS.get_named(called)
        self.why = "as asked" if name else self.why
        self.distils = none or not any(row.features.answers for row in rows)
        digest = hashlib.sha256(repr((self.metric, self._wording.text, self._frames)).encode())
        self._rows: dict[Split, list[Question]] = {split: [] for split in SPLITS}
        groups: dict[str, None] = {}
        bad, kept = list(loaded.bad), []
        for row in rows:
            asked = [self._question(row, none, turn) for turn in range(turns(row.features.choices, self.circular))]
            try:
                if self._metric.check is not None and asked[0].answers:
                    self._metric.check(asked[0])
            except EosError as error:
                bad.append(Bad(row.place, str(error), "not for this metric"))
                continue
            for example in asked:
                facts = example.question, example.answers, example.group, example.key
                digest.update(repr(facts).encode("utf-8", "replace"))
            self._rows[row.split].extend(asked)
            groups.setdefault(asked[0].group)
            kept.append(row)
        self.loaded = Loaded(loaded.form, tuple(kept), tuple(bad))
        self.bad = tuple(map(str, bad))
        self.groups = tuple(groups)
        self.films = bool(kept) and all(row.features.film for row in kept)
        self.version = digest.hexdigest()[:16]

    def _question(self, row: Row, none: bool, turn: int) -> Question:
        reasons = row.features
        golds = () if none else tuple(sorted(reasons.answers, key=lambda one: -reasons.answers.count(one)))
        choices, golds = turned(reasons.choices, golds, turn)
        return Question(
            image=partial(opened, row.sources[0]) if len(row.sources) == 1 and not reasons.film else self._shown(row),
            question=self._wording.put(reasons.question, choices),
            answers=golds,
            group=reasons.group,
            key=row.key,
            id=f"{row.id}~{turn}" if turn else row.id,
            choices=choices,
            place=row.place,
            most=self.max_tokens or self._metric.most,
            plain=reasons.question,
            facts={"row": row.id},
            content=f"film {self._frames} {row.key}" if reasons.film else row.key,
        )

    def _shown(self, row: Row) -> Any:
        if row.features.film:
            return partial(films.frames, row.sources[0], self._frames)
        return partial(opened_all, row.sources)

    def examples(self, split: Split, count: int) -> list[Question]:
        """The first ``count`` questions of a split in the data's order, or all there are.

        Raises:
            EosError: unknown split, or none of the pictures belongs to it.
        """
        if split not in self._rows:
            raise unknown("split", split, SPLITS)
        selected = self._rows[split][:count]
        if not selected:
            pictures = len({one.key for rows in self._rows.values() for one in rows})
            raise EosError(
                f"{shown_path(self.data)}: none of its {pictures} pictures belongs to the split '{split}', which gets "
                f"{SHARES[split]:.0%} of them, by their content; add pictures"
            )
        return selected

    def all(self, split: Split) -> Sequence[Question]:
        """Every question of a split; there may be none."""
        return self._rows[split]

    def score(self, output: str, example: Example) -> float:
        """What an answer is worth by the metric."""
        return self._metric.worth(output, example)

    def summary(self, questions: Sequence[Question], scores: Sequence[float]) -> Mapping[str, float]:
        """The mean score; of yes/no questions F1 and what it is made of, too; of circles those that are all right."""
        return summed_up(questions, scores, self.metric, self.circular)

    def strata(self, questions: Sequence[Question]) -> list[tuple[float, list[list[int]]]]:
        """What counts as one, for intervals: a question, or the turns of it."""
        return [(1.0, units(questions, self.circular))]

    def worth(self, scores: Sequence[float]) -> float:
        """What such a unit is worth."""
        return min(scores) if self.circular else sum(scores) / len(scores)

    def too_many(self) -> EosError:
        """The error of more bad rows than allowed."""
        rows = self.loaded.total
        where = f"{shown_path(self.data)}: "
        first = self.bad[:LISTED]
        reasons = "; ".join(one.removeprefix(where)[:150] for one in first)
        more = f"; and {len(self.bad) - len(first)} more" if len(self.bad) > len(first) else ""
        remedy = f"--allow-bad {min(1.0, -(-1000 * len(self.bad) // rows) / 1000):g} leaves them out"
        room = 270 - len(where) - len(remedy) - len(more)
        return EosError(f"{where}{len(self.bad)} of {rows} rows cannot be used: {reasons[:room]}{more}; {remedy}")


def opened_all(sources: tuple[Source, ...]) -> list[Image.Image]:
    """Several pictures, in order."""
    return [opened(source) for source in sources]


def _check_whole(value: Any, name: str, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise EosError(f"task 'files': {name}: a whole number from {least} to {most} is expected, not {shown(value)}")
