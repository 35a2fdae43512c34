"""What ``designs_table`` prints: a table of accuracies for each model, and mean ranks over models and ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eos_platform.analysis.stats.ranks import Ranking, rank_methods
from eos_platform.common.errors import EosError

Row = Mapping[str, Any]
Column = tuple[str, float]  # what is shown of a ratio


def report(rows: Sequence[Row]) -> str:
    """All of it, as text."""
    blocks = []
    for model in dict.fromkeys(row["model"] for row in rows):
        blocks.append(_model([row for row in rows if row["model"] == model]))
    for variant in ("published", "tuned"):
        chosen = [row for row in rows if row["variant"] == variant and row["ratio"] is not None]
        for what in ("accuracy", "detail"):
            blocks.append(_ranks(chosen, what, variant))
    return "\n\n".join(block for block in blocks if block)


def _model(rows: Sequence[Row]) -> str:
    """Designs down, ratios across: accuracy, and that of the questions that need detail."""
    whole = next((row for row in rows if not row["design"] and "accuracy" in row), None)
    ratios = sorted({row["ratio"] for row in rows if row["ratio"] is not None}, reverse=True)
    head = f"{rows[0]['model']} ({rows[0]['task']})"
    if whole:
        head += f": unreduced {100 * whole['accuracy']:.1f} % of {whole['questions']} questions"
        head += f"; {whole['detail_questions']} need detail" if whole["detail_questions"] else ""
    lines = [head, f"{'':16}" + "".join(f"{f'{ratio:g}':>13}" for ratio in ratios)]
    cells: dict[str, dict[float | None, str]] = {}
    refused: dict[str, str] = {}
    for row in rows:
        if not row["design"]:
            continue
        name = row["design"] + ("*" if row["variant"] == "tuned" else "")
        if "reason" in row:
            refused.setdefault(name, row["reason"])
        else:
            detail = "" if row["detail"] is None else f" /{100 * row['detail']:5.1f}"
            name += "~" if row["stand_in"] else ""
            cells.setdefault(name, {})[row["ratio"]] = f"{100 * row['accuracy']:.1f}{detail}"
    for name, of in cells.items():
        if None in of:
            lines.append(f"{name:16}{of[None]:>13}  (one compute only)")
        else:
            lines.append(f"{name:16}" + "".join(f"{of.get(ratio, '-'):>13}" for ratio in ratios))
    if any(name.endswith("~") for name in cells):
        lines.append("~: the norm stands in for attention in the vision tower, which is not read here; not ranked")
    lines += [f"{name:16}  {reason[:100]}" for name, reason in refused.items() if not {name, f"{name}~"} & set(cells)]
    return "\n".join(lines)


def _ranks(rows: Sequence[Row], what: str, variant: str) -> str:
    """Mean ranks over all models, of the designs that none refuses; then over the models where (nearly) all run."""
    scores: dict[tuple[str, float], dict[str, float | None]] = {}
    for row in rows:
        scores.setdefault((row["model"], row["ratio"]), {})[row["design"]] = (
            None if row.get("stand_in") else row.get(what)
        )
    everyone = {name for block in scores.values() for name in block}
    # where hardly any design reaches a ratio there is nothing to compare
    scores = {key: block for key, block in scores.items() if 2 * _measured(block) >= len(everyone)}
    if not scores:
        return ""
    whole = {
        model
        for model in dict.fromkeys(model for model, _ in scores)
        if sum(_runs(scores, model, name) for name in everyone) >= 0.9 * len(everyone)
    }
    some = {key: block for key, block in scores.items() if key[0] in whole}
    texts = [_ranking(scores, f"{what}, {variant}, over all {len({m for m, _ in scores})} models")]
    if whole and len(some) < len(scores):
        texts.append(_ranking(some, f"{what}, {variant}, over {', '.join(sorted(whole))}"))
    return "\n\n".join(texts)


def _measured(block: Mapping[str, float | None]) -> int:
    return sum(value is not None for value in block.values())


def _runs(scores: Mapping[tuple[str, float], Mapping[str, float | None]], model: str, name: str) -> bool:
    return any(block.get(name) is not None for (other, _), block in scores.items() if other == model)


def _ranking(scores: Mapping[Any, Mapping[str, float | None]], title: str) -> str:
    try:
        ranking = rank_methods(scores)
    except EosError as error:
        return f"mean ranks of {title}: {error}"
    return "\n".join([f"mean ranks of {title}", *lines_of(ranking, scores)])


def lines_of(ranking: Ranking, scores: Mapping[Any, Mapping[str, float | None]]) -> Iterator[str]:
    """One line a method, and what tells them apart."""
    yield (
        f"{ranking.blocks} blocks, {len(ranking.mean_rank)} methods, Friedman p {ranking.p_value:.2g}, critical"
        f" difference {ranking.critical_difference:.2f} (Nemenyi, .05)"
    )
    for name, rank in ranking.mean_rank.items():
        values = [value for block in scores.values() if (value := block.get(name)) is not None]
        yield f"{name:16}{rank:7.2f}{ranking.wins[name]:5d} best{100 * float(np.mean(values)):8.1f} % on average"
    for name, (blocks, relative) in ranking.partial.items():
        yield f"{name:16}      -  in {blocks} blocks, relative rank {relative:.2f} (0 best, 1 last)"
