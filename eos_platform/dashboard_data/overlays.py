"""Which tokens an operator keeps on example pictures: as recorded, else worked out in the background."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.models import bundled
from eos_platform.operators.spec import OperatorSpec

Overlay = dict[str, Any]  # pictures, sites: for each picture what is present after each site


class Overlays:
    """Has overlays worked out one at a time, in a process of its own (``overlay_worker``).

    A bundled model needs seconds; any other is not loaded for a picture's sake.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="overlays")
        self._asked: dict[tuple[str, str, str], Future[Overlay]] = {}
        self._worker: subprocess.Popen[str] | None = None  # of the pool's one thread
        self._end: Callable[[], Any] = lambda: None

    def recorded(self, kept: str | None, answers: str | None = None) -> Overlay | None:
        """What a run's files of kept tokens and of answers hold, if they are such; without sites, all tokens stay."""
        try:
            told = strict_json.loads(answers) if answers else None
            held = strict_json.loads(kept) if kept else told and {**told, "sites": _whole(told["examples"])}
            if not held or not held["sites"]:
                return None
            overlay = {"pictures": held["examples"], "sites": held["sites"]}
            if told:
                known = {_of(shown): one for shown, one in zip(told["examples"], told["answers"], strict=True)}
                overlay["answers"] = [known.get(_of(shown)) for shown in overlay["pictures"]]
            return overlay
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
                self._asked[model, task, text] = self._pool.submit(self._work, model, task, text)
            overlay = self._asked[model, task, text]
        if not wait and not overlay.done():
            return "working"
        try:
            return overlay.result()
        except EosError as error:
            return str(error)

    def _work(self, model: str, task: str, operator: str) -> Overlay:
        """Ask the worker; one that has ended meanwhile is started again."""
        request = strict_json.dumps({"model": model, "task": task, "operator": operator}, compact=True)
        for _ in range(2):
            line = self._ask(request)
            if line:
                answer = strict_json.loads(line)
                if "error" in answer:
                    raise EosError(answer["error"])
                overlay: Overlay = answer["overlay"]
                return overlay
        raise EosError("the example pictures cannot be worked out: the process that does so ended")

    def _ask(self, request: str) -> str:
        """The answer's line; empty where the worker has ended."""
        if self._worker is None or self._worker.poll() is not None:
            self._end()
            self._worker = _started()
            self._end = weakref.finalize(self, _ended, self._worker)
        assert self._worker.stdin
        assert self._worker.stdout
        try:
            self._worker.stdin.write(request + "\n")
            self._worker.stdin.flush()
            return self._worker.stdout.readline()
        except OSError:  # a broken pipe
            return ""

    def close(self) -> None:
        """End the worker, if there is one."""
        self._pool.shutdown(cancel_futures=True)
        self._end()
        self._worker = None


def _ended(worker: subprocess.Popen[str]) -> None:
    """Wait for a worker that is told to end."""
    worker.terminate()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _started() -> subprocess.Popen[str]:
    """A worker. It ends with its input, so with this process."""
    command = [sys.executable, "-m", "eos_platform.dashboard_data.overlay_worker"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    )


def on_pictures(overlay: Overlay, pictures: Sequence[Mapping[str, Any]]) -> Overlay:
    """The overlay in the order of ``pictures``; nothing on those it lacks."""
    known = {_of(shown): number for number, shown in enumerate(overlay["pictures"])}
    places = [known.get(_of(shown)) for shown in pictures]
    answers = overlay.get("answers") or [None] * len(overlay["pictures"])
    return {
        "pictures": list(pictures),
        "sites": [[] if place is None else overlay["sites"][place] for place in places],
        "answers": [None if place is None else answers[place] for place in places],
    }


def _of(shown: Mapping[str, Any]) -> tuple[str, str]:
    """What tells an example from others: its question and its picture."""
    return shown["text"], shown["png"]


def _whole(pictures: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Sites of an operator that removes nothing."""
    counts = [rows * columns for rows, columns in (shown["grid"] for shown in pictures)]
    return [[{"origin": list(range(count)), "size": [1.0] * count}] for count in counts]


def kept_rows(name: str, overlay: Mapping[str, Any], ratio: float) -> list[dict[str, Any]]:
    """Rows of ``kept_figure``: one operator's tokens at the end, a row a picture; ``given``, ``worth``: the answer."""
    answers = overlay.get("answers") or [None] * len(overlay["sites"])
    return [
        {
            "column": name,
            "ratio": ratio,
            "picture": number,
            "origin": sites[-1]["origin"],
            "size": sites[-1]["size"],
            "caption": f"{len(sites[-1]['origin'])} tokens left",
            "given": answer["given"] if answer else None,
            "worth": answer["worth"] if answer else None,
        }
        for number, (sites, answer) in enumerate(zip(overlay["sites"], answers, strict=True))
        if sites
    ]
