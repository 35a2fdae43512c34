"""An explanation in words and tables: sentences, and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eos_platform.analysis.explain.explain import Explanation
from eos_platform.analysis.explain.nearest import AXES
from eos_platform.common.printable import markdown as plain

METHOD = """\
Each ablation is the operator with one thing changed, deployed on the same {questions:,} validation questions;
differences are paired, 95 % intervals from a bootstrap over questions. Nothing is searched again after the change, so a
loss says what the other parameters rely on, not what the best operator without this one would reach. A row with a
compute ratio in brackets is not matched: that ratio, or the one with the vision tower, is more than 2.5 % off the
operator's. With many rows, one in
twenty intervals misses zero by chance; one of no width means that no answer changed.
"""
DISTANCE = """\
The distance is the mean of four, each from 0 (the same) to 1: *placement* (how far removals would have to be moved
along the depth), *counts* (relative difference of the tokens entering each decoder layer), *selector* (how tokens are
picked, and what the score is made of), *transfer* (where dropped tokens go). Designs are at the operator's compute.
"""


def summary_lines(result: Explanation) -> list[str]:
    """The verdicts in sentences: on the whole, on what ranks tokens, on the nearest design."""
    operator, lines = result.operator, []
    low, high = result.interval
    lines.append(
        f"accuracy {result.accuracy:.1%} (95 %: {low:.1%} .. {high:.1%}) on {result.questions:,} validation questions;"
        f" the unreduced model has {result.unreduced_accuracy:.1%}"
    )
    whole = result.whole_model_ratio
    lines.append(
        f"compute ratio {result.compute_ratio:.3f}"
        f"{'' if whole is None else f' ({whole:.3f} with the vision tower)'}; {operator.mean_tokens:.1f} of"
        f" {operator.target.tokens} visual tokens per decoder layer"
    )
    if operator.image is not None:
        rows, across = operator.image
        lines.append(f"the picture is shrunk until the vision tower makes {rows} x {across} tokens of it")
    if not operator.sites and operator.image is None:
        lines.append("identity: no site, every token goes through every layer")
    if result.nearest:
        first, *others = result.nearest
        axes = ", ".join(f"{axis} {first.axes[axis]:.2f}" for axis in AXES)
        lines.append(
            f"nearest hand-designed operator at this compute: {first.design}, at distance {first.distance:.2f} of 0"
            f" (the same) to 1 ({axes})"
            + (f"; then {', '.join(f'{near.design} {near.distance:.2f}' for near in others[:3])}" if others else "")
        )
    else:
        lines.append("nearest hand-designed operator: none, as nothing is reduced")
    return lines


def ranking_line(site: dict[str, Any]) -> str:
    """What ranks the tokens at a site, in a line; empty where nothing does."""
    if not site["weights"]:
        return ""
    shares = site["variance_explained"]
    order = sorted(site["weights"], key=lambda name: -(shares[name] or 0.0))
    parts = []
    for name in order:
        share = "" if shares[name] is None else f" {_percent(shares[name])}"
        turned = ", changed by the question" if name == "probe" and site["steering"] else ""
        parts.append(f"{name}{share} ({'length' if name == 'probe' else 'weight'} {site['weights'][name]:.2f}{turned})")
    line = "ranked by " + ", ".join(parts)
    probe = shares.get("probe")
    if probe is not None and len(shares) > 1:
        line += f"; of the score's variance the probe explains {_percent(probe)}, the features {_percent(1 - probe)}"
    if any(share is not None and share < -0.005 for share in shares.values()):
        line += " (below 0: it speaks against the others)"
    return line


def _percent(share: float) -> str:
    return f"{round(100 * share) + 0}%"


def markdown(result: Explanation) -> str:
    """The whole explanation."""
    lines = summary_lines(result)
    parts = [
        f"# {plain(result.operator.name)}: {result.operator.regime}, on {plain(result.model)}",
        *(f"- {line}" for line in lines),
    ]
    text = "\n".join([parts[0], "", *parts[1:]])
    sections = [text]
    for site in result.sites:
        body = [f"- {line}" for line in (*site["words"], ranking_line(site)) if line]
        sections.append(f"## Site {site['site']}, {site_head(site)}\n\n" + "\n".join(body))
    counts = list(result.operator.counts)
    head = "| layer | " + " | ".join(map(str, range(len(counts)))) + " |"
    rule = "|---" + "|---:" * len(counts) + "|"
    sections.append(
        "## Visual tokens entering each decoder layer\n\n"
        + "\n".join([head, rule, "| tokens | " + " | ".join(map(str, counts)) + " |"])
    )
    if result.nearest:
        rows = [
            f"| {near.design} | {near.distance:.2f} | " + " | ".join(f"{near.axes[axis]:.2f}" for axis in AXES) + " |"
            for near in result.nearest
        ]
        table = ["| design | distance | " + " | ".join(AXES) + " |", "|---|---:" + "|---:" * len(AXES) + "|", *rows]
        sections.append("## Nearest hand-designed operators\n\n" + DISTANCE + "\n" + "\n".join(table))
    if len(result.ablations):
        sections.append(
            "## Effect of each parameter\n\n"
            + METHOD.format(questions=result.questions)
            + "\n"
            + ablation_table(result.ablations)
        )
    return "\n\n".join(sections) + "\n"


def site_head(site: dict[str, Any]) -> str:
    """Where a site stands, and tokens in and kept."""
    share = site["keep"] / max(1, site["arriving"])
    return f"{site['stands']}: {site['arriving']} -> {site['keep']} tokens ({share:.0%} stay), {site['regime']}"


def ablation_table(ablations: pd.DataFrame) -> str:
    """Markdown, in the frame's order."""
    rows = [
        "| changed | where | was | accuracy | change, points | 95 % | compute ratio |",
        "|---|---|---|---:|---:|---|---:|",
    ]
    rows += ["| " + " | ".join(cells(row)) + " |" for row in ablations.to_dict("records")]
    return "\n".join(rows)


def cells(row: Mapping[Any, Any]) -> list[str]:
    """One ablation as text: what, where, was, accuracy, change, interval, ratio (in brackets if not matched)."""
    ratio = f"{row['compute_ratio']:.3f}"
    return [
        row["what"],
        row["where"],
        row["was"],
        f"{row['accuracy']:.1%}",
        f"{100 * row['difference']:+.1f}",
        f"{100 * row['low']:+.1f} .. {100 * row['high']:+.1f}",
        ratio if row["matched"] else f"({ratio})",
    ]
