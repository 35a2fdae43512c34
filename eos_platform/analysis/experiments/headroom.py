"""How much room a task leaves: accuracy unreduced, on a quarter of the pixels, with a random quarter of the tokens.

    python -m eos_platform.analysis.experiments.headroom --models bundled-qwen,bundled-gemma --questions 500

prints a table in Markdown: models across, groups of held-out questions down, in each cell the three accuracies in per
cent. The group ``detail`` holds the questions answered rightly as they are and wrongly on a quarter of the pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.models.bundled import MODELS
from eos_platform.operators.designs import get_design
from eos_platform.tasks import load_workload
from eos_platform.tasks.evaluate import Evaluation, evaluate
from eos_platform.tasks.on_task import OnTask

WAYS = ("unreduced", "quarter of the pixels", "random quarter of the tokens")
Room = Mapping[str, Evaluation]


def headroom(subject: OnTask, questions: int) -> Room:
    """Held-out questions answered in three ways, by ``WAYS``.

    Raises:
        EosError: the task has no questions.
    """
    random = get_design("random").build(subject.target, subject.target.tokens / 4)
    fewer = evaluate(subject, random, "heldout", questions)
    scores = (*subject.whole_and_quarter("heldout", questions), fewer.scores)
    return {
        way: Evaluation(scores_of, fewer.skills, fewer.find_subsets)
        for way, scores_of in zip(WAYS, scores, strict=True)
    }


def table(rooms: Mapping[str, Room]) -> str:
    """Markdown: models across, groups down, per cent in each of ``WAYS``."""
    groups = list(dict.fromkeys(group for room in rooms.values() for group in room[WAYS[0]].per_skill))
    rows = [["group", *rooms], ["---"] * (1 + len(rooms))]
    rows.append(
        ["**all**", *(" / ".join(f"{100 * room[way].accuracy:.1f}" for way in WAYS) for room in rooms.values())]
    )
    for group in groups:
        rows.append([group, *(_cell(room, group) for room in rooms.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(room: Room, group: str) -> str:
    shares = [room[way].per_skill.get(group) for way in WAYS]
    return " / ".join("" if share is None else f"{100 * share:.0f}" for share in shares)


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="bundled-qwen", help="bundled models or folders, with commas between")
    parser.add_argument("--task", help="default: what a bundled model was trained on, else scenes-v2")
    parser.add_argument("--questions", type=int, default=500, help="held-out questions")
    parser.add_argument("--device", help="default: the GPU if there is one")
    given = parser.parse_args(words)
    rooms = {}
    for name in given.models.split(","):
        task = given.task or (MODELS[name].task if name in MODELS else "scenes-v2")
        subject = load_workload(name, task, given.device)
        if not isinstance(subject, OnTask):
            raise EosError(f"{name}: 'scenes' on a LLaVA is not asked about shrunk pictures; say --task scenes-v2")
        rooms[name] = headroom(subject, given.questions)
        accuracies = ", ".join(f"{way} {100 * rooms[name][way].accuracy:.1f}" for way in WAYS)
        terminal.say(f"{name}: {given.questions} held-out questions: {accuracies}", stderr=True)
    terminal.say(table(rooms))


if __name__ == "__main__":
    main()
