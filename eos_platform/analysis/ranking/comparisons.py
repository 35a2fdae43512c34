"""Scores of methods in several comparison folders, block by block: a model, its task and a compute ratio each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eos_platform.analysis.comparison.store import read_header, read_records
from eos_platform.analysis.ranking import Block
from eos_platform.common.errors import EosError, unknown


def blocks_of(folders: Sequence[Path], group: str | None = None) -> dict[Block, dict[str, float | None]]:
    """Scores by method in each block; None where a method was tried and has no form there.

    A method is a design, its tuned form (``NAME tuned``) or ``searched``, the mean over its seeds. Operator files that
    were given are left out: they are of one model.

    Args:
        folders: results of ``eos compare``.
        group: of questions, such as ``detail``; default: all of them.

    Raises:
        EosError: a folder that is none, two of the same model and task, or a group that was not asked.
    """
    blocks: dict[Block, dict[str, float | None]] = {}
    known: dict[tuple[str, str], Path] = {}
    for folder in folders:
        header = read_header(folder)
        where = str(header["model"]), str(header["task"])
        if where in known:
            raise EosError(f"{folder}: {where[0]} on {where[1]} is in {known[where]} already; give one of them")
        known[where] = folder
        for (ratio, name), scores in _scores(folder, group).items():
            blocks.setdefault((*where, ratio), {})[name] = sum(scores) / len(scores) if scores else None
    return blocks


def _scores(folder: Path, group: str | None) -> Mapping[tuple[float, str], list[float]]:
    found: dict[tuple[float, str], list[float]] = {}
    for record in read_records(folder):
        if record["ratio"] is None or record["variant"] == "given" or record["family"] == "unreduced":
            continue
        name = record["design"] or "searched"
        name += " tuned" if record["variant"] == "tuned" else ""
        scores = found.setdefault((record["ratio"], name), [])
        if record["status"] != "measured":
            continue
        if group is not None and group not in record["per_skill"]:
            raise EosError(f"{folder}: {unknown('group', group, record['per_skill'])}")
        scores.append(record["accuracy"] if group is None else record["per_skill"][group])
    return found
