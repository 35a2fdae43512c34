"""The process that works overlays out: a request a line of JSON on standard input, an answer a line on standard output.

torch, transformers and a model are several times what the rest of a dashboard takes; they are here, and gone after a
while without requests.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any

from eos_platform.analysis.comparison.measure import as_seen
from eos_platform.analysis.comparison.pictures import examples, kept_on
from eos_platform.analysis.explain.overlay import answered_on
from eos_platform.common import strict_json
from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec
from eos_platform.task_names import from_text
from eos_platform.tasks import load_workload

PICTURES = 4
QUESTIONS = 256  # enough of them to find pictures of different skills
IDLE = 120.0  # seconds without a request after which the process ends


class Worker:
    """Answers requests; the latest model stays loaded."""

    def __init__(self) -> None:
        self._workloads: dict[tuple[str, str], Any] = {}

    def overlay(self, model: str, task: str, operator: OperatorSpec) -> dict[str, Any]:
        """Example pictures, and for each what is present after each site and what the model answers.

        Raises:
            EosError: it cannot be worked out.
        """
        with reading("the example pictures cannot be worked out"):
            if (model, task) not in self._workloads:
                self._workloads = {(model, task): load_workload(model, from_text(task), "cpu")}
            workload = self._workloads[model, task]
            encoded = workload.encoded("heldout", QUESTIONS)
            pictures = examples(encoded, PICTURES)
            questions = [picture["question"] for picture in pictures]
            return {
                "pictures": pictures,
                "sites": kept_on(workload, operator, as_seen(encoded, operator), questions),
                "answers": answered_on(workload, operator, encoded, questions),
            }

    def answer(self, line: str) -> dict[str, Any]:
        """``{"overlay": ...}``, or ``{"error": ...}`` in a line."""
        try:
            asked = strict_json.loads(line)
            operator = OperatorSpec.from_json(asked["operator"])
            return {"overlay": self.overlay(asked["model"], asked["task"], operator)}
        except EosError as error:
            return {"error": str(error)}


def main() -> None:
    """Answer until there is no more to answer."""
    import torch

    torch.set_num_threads(1)  # the page must stay quick
    # what a library prints must not stand between the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker()
    while select.select([sys.stdin], [], [], IDLE)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        answers.write(strict_json.dumps(worker.answer(line), compact=True) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
