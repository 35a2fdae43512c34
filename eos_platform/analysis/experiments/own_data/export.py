"""A task's questions as a user would keep them: pictures in a folder, a JSONL file beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eos_platform.common import strict_json
from eos_platform.common.files import write_atomic
from eos_platform.protocols import Split, Task

QUESTIONS = "questions.jsonl"


def export(
    task: Task,
    folder: Path,
    questions: Mapping[Split, int],
    sizes: Sequence[tuple[int, int]] = (),
    answers: bool = True,
) -> Path:
    """Write the first questions of each split; what is there is written anew.

    Args:
        task: whose questions.
        folder: that they go to.
        questions: of each split.
        sizes: (width, height) that pictures are made of, in turn; none: as they are.
        answers: whether the rows hold them.

    Returns:
        The JSONL file. Rows keep the task's split; a picture is written once.

    Raises:
        EosError: the task has no questions of a split.
    """
    pictures: dict[str, str] = {}
    lines: list[str] = []
    for split, count in questions.items():
        for one in task.examples(split, count):
            if one.key not in pictures:
                name = f"pictures/{len(pictures):06d}.png"
                shown = one.opened()
                if sizes:
                    shown = shown.resize(sizes[len(pictures) % len(sizes)])
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shown.save(folder / name)
                pictures[one.key] = name
            row = {"id": f"{split}-{len(lines)}", "image": pictures[one.key], "question": one.question}
            told = {"answers": list(one.answers)} if len(one.answers) > 1 else {"answer": one.answer}
            lines.append(strict_json.dumps({**row, **(told if answers else {}), "group": one.group, "split": split}))
    write_atomic(folder / QUESTIONS, "".join(f"{line}\n" for line in lines))
    return folder / QUESTIONS
