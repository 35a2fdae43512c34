"""Answers on disk as they come: a file for each task and operator, gone on with where it stopped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import MEGABYTE, open_regular, read_text, shown_path, write_atomic

PIECE = 8 * MEGABYTE
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
TOLD = (".json", ".jinja", ".model", ".txt", ".py", *WEIGHTS)


def model_hash(folder: Path) -> str:
    """The SHA-256 of a model's folder: what its weights, settings, tokenizer and template hold, by name.

    Raises:
        EosError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(one for one in folder.iterdir() if one.suffix in TOLD and one.is_file()):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with open_regular(path, "model file", None) as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()[:16]


class Answers:
    """What was answered to the questions of a task, by one model with one operator or none.

    Attributes:
        path: of the file.
        known: text and score by question.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """What an earlier run left is taken up if it was of the same.

        Args:
            path: of the file; ``.about.json`` beside it says whose answers they are.
            about: model, operator, task and how it was asked.

        Raises:
            EosError: the answers there are of something else.
        """
        self.path = path
        self.known: dict[str, tuple[str, float]] = {}
        header = path.with_suffix(".about.json")
        if header.exists():
            before = strict_json.loads(read_text(header, "benchmark record"), shown_path(header))
            for key, value in about.items():
                had = before.get(key) if isinstance(before, dict) else None
                if had != value:
                    raise EosError(
                        f"{shown_path(path)} holds answers of another {key} ({shown(had)}, now {shown(value)}); "
                        "name another --out"
                    )
        else:
            write_atomic(header, strict_json.dumps(dict(about), indent=2) + "\n")
        if path.exists():
            self._read()

    def _read(self) -> None:
        """Lines of earlier runs; one that was cut off in writing is cut away."""
        whole = 0
        with open_regular(self.path, "benchmark answers", None) as stream:
            for line in stream:
                try:
                    row = strict_json.loads(line.decode())
                    name, text, score = row["id"], row["text"], float(row["score"])
                except (ValueError, KeyError, TypeError, EosError):
                    break
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self.known[name] = text, score
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)

    def add(self, rows: Sequence[tuple[str, str, float]]) -> None:
        """Keep answers: question, text, score."""
        lines = [strict_json.dumps({"id": name, "text": text, "score": score}) for name, text, score in rows]
        with self.path.open("ab") as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode())
            stream.flush()
        self.known.update({name: (text, score) for name, text, score in rows})
