"""What was understood of data: counts, sizes, answers, what is odd about it, and what cannot be used, by reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from eos_platform.protocols import SPLITS
from eos_platform.tasks.data.load import Row
from eos_platform.tasks.files import Files

FEW = 50  # questions below which a split says little
SHOWN = 3  # places of each reason


class Checked(Files):
    """Files whose pictures are all decoded, and which may have any number of bad rows."""

    whole = True
    least = 0


def report(task: Files) -> dict[str, Any]:
    """The facts, as plain data."""
    rows = task.loaded.rows
    digests = [look.digest for row in rows for look in row.looks]
    sources = {source: look.digest for row in rows for source, look in zip(row.sources, row.looks, strict=True)}
    sizes = Counter(
        (look.width, look.height) for look in {one.digest: one for row in rows for one in row.looks}.values()
    )
    answers = Counter(answer for row in rows for answer in row.features.answers[:1])
    return {
        "data": task.data,
        "format": task.loaded.form,
        "rows": task.loaded.total,
        "usable": len(rows),
        "bad": len(task.loaded.bad),
        "bad_by_reason": _reasons(task),
        "pictures": len(set(digests)),
        "copies": len(sources) - len(set(sources.values())),
        "films": sum(row.features.film for row in rows),
        "several_pictures": sum(len(row.sources) > 1 for row in rows),
        "sizes": {
            "different": len(sizes),
            "smallest": _size(min(sizes, key=_area, default=None)),
            "largest": _size(max(sizes, key=_area, default=None)),
            "most_frequent": [[_size(size), count] for size, count in sizes.most_common(5)],
        },
        "splits": {split: _of_split(rows, split) for split in SPLITS},
        "groups": dict(Counter(row.features.group for row in rows).most_common()),
        "answers": {
            "rows_without": sum(not row.features.answers for row in rows),
            "different": len(answers),
            "most_frequent": [[text[:60], count] for text, count in answers.most_common(5)],
            "longest": max(map(len, answers), default=0),
        },
        "metric": task.metric,
        "metric_why": task.why,
        "remarks": list(_remarks(task, rows, answers)),
    }


def _reasons(task: Files) -> dict[str, Any]:
    result: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for one in task.loaded.bad:
        counts[one.kind] += 1
        if len(result[one.kind]) < SHOWN:
            result[one.kind].append(str(one))
    return {kind: {"rows": count, "first": result[kind]} for kind, count in counts.most_common()}


def _of_split(rows: tuple[Row, ...], split: str) -> dict[str, int]:
    mine = [row for row in rows if row.split == split]
    return {"questions": len(mine), "pictures": len({row.key for row in mine})}


def _remarks(task: Files, rows: tuple[Row, ...], answers: Counter[str]) -> Iterator[str]:
    for split in SPLITS:
        count = sum(row.split == split for row in rows)
        if rows and count < FEW:
            yield f"split '{split}' has {count} questions: too few to tell operators apart"
    asked: dict[tuple[str, str, tuple[str, ...]], set[tuple[str, ...]]] = defaultdict(set)
    times: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    for row in rows:
        key = row.key, row.features.question, row.features.choices
        asked[key].add(tuple(sorted(row.features.answers)))
        times[key] += 1
    if unlike := sum(len(reported) > 1 for reported in asked.values()):
        yield f"{unlike} questions about the same picture come again with other answers"
    if again := sum(count - 1 for key, count in times.items() if len(asked[key]) == 1):
        yield f"{again} rows come again unchanged"
    if answers and len(answers) > 1:
        text, count = answers.most_common(1)[0]
        if count > 0.5 * len(rows):
            yield f"{count / len(rows):.0%} of the answers are {text[:40]!r}: always saying so scores as much"
    if answers and len(answers) == 1 and len(rows) > 1:
        yield "every answer is the same"
    if task.distils and rows:
        yield "no answers: searches keep the model as it is, and score how often its own answer stays"


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else ""
