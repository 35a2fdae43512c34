"""Which tokens an operator keeps on example pictures: as recorded, else worked out in the background."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.models import bundled
from eos_platform.operators.spec import OperatorSpec

PICTURES = 4
QUESTIONS = 256  # enough of them to find pictures of different skills

Overlay = dict[str, Any]  # pictures, sites: for each picture what is present after each site


class Overlays:
    """Works overlays out one at a time; a bundled model needs seconds, any other is not loaded for a picture's sake."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="overlays")
        self._asked: dict[tuple[str, str, str], Future[Overlay]] = {}
        self._workloads: dict[tuple[str, str], Any] = {}

    def recorded(self, text: str) -> Overlay | None:
        """What a run's file of kept tokens holds, if it is one."""
        try:
            overlay = strict_json.loads(text)
            return {"pictures": overlay["examples"], "sites": overlay["sites"]} if overlay["sites"] else None
        except (ValueError, KeyError, TypeError):
            return None

    def get(self, model: str, task: str, operator: OperatorSpec, *, wait: bool = False) -> Overlay | str:
        """The overlay, or in a few words why there is none (yet).

        Args:
            wait: until it is worked out; else "working" is the answer meanwhile.
        """
        if model not in bundled.MODELS:
            return "Not recorded for this operator; eos explain draws it with the model at hand."
        text = operator.to_json()
        with self._lock:
            if (model, task, text) not in self._asked:
                self._asked[model, task, text] = self._pool.submit(self._work, model, task, operator)
            overlay = self._asked[model, task, text]
        if not wait and not overlay.done():
            return "working"
        try:
            return overlay.result()
        except EosError as error:
            return str(error)

    def _work(self, model: str, task: str, operator: OperatorSpec) -> Overlay:
        import torch

        from eos_platform.analysis.comparison.measure import as_seen
        from eos_platform.analysis.comparison.pictures import examples, kept_on
        from eos_platform.tasks import load_workload
        from eos_platform.tasks.choice import from_text

        torch.set_num_threads(1)  # of this thread: the page must stay quick
        if (model, task) not in self._workloads:
            self._workloads = {(model, task): load_workload(model, from_text(task), "cpu")}
        workload = self._workloads[model, task]
        encoded = workload.encoded("heldout", QUESTIONS)
        pictures = examples(encoded, PICTURES)
        questions = [picture["question"] for picture in pictures]
        return {"pictures": pictures, "sites": kept_on(workload, operator, as_seen(encoded, operator), questions)}


def on_pictures(overlay: Overlay, pictures: Sequence[Mapping[str, Any]]) -> Overlay:
    """The overlay in the order of ``pictures``; nothing on those it lacks."""
    known = {(shown["text"], shown["png"]): number for number, shown in enumerate(overlay["pictures"])}
    places = [known.get((shown["text"], shown["png"])) for shown in pictures]
    return {
        "pictures": list(pictures),
        "sites": [[] if place is None else overlay["sites"][place] for place in places],
    }


def kept_rows(name: str, overlay: Mapping[str, Any], ratio: float) -> list[dict[str, Any]]:
    """Rows of ``kept_figure``: one operator's tokens at the end, a row a picture."""
    return [
        {
            "column": name,
            "ratio": ratio,
            "picture": number,
            "origin": sites[-1]["origin"],
            "size": sites[-1]["size"],
            "caption": f"{len(sites[-1]['origin'])} tokens left",
        }
        for number, sites in enumerate(overlay["sites"])
        if sites
    ]
