"""The comparison in words and tables: Markdown, from the frames that ``points`` and ``differences`` make."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from eos_platform.analysis.comparison.points import costs, skills
from eos_platform.analysis.comparison.settings import Settings
from eos_platform.common import strict_json
from eos_platform.common.printable import markdown as plain
from eos_platform.common.printable import printable
from eos_platform.costs.measured.pays import pays
from eos_platform.costs.registry import COSTS
from eos_platform.tasks.choice import options_of

METHOD = """\
Every accuracy is of the deployed operator, visual tokens really removed, on the same {questions:,} held-out questions;
intervals are Wilson's, 95 %. The compute ratio is the FLOPs of the language model's prefill with the operator over
those without, the operator's own work included, at {text_tokens} text tokens; `counted` is the same from PyTorch's
FLOP counter on the running model; `whole` has vision tower and projector on both sides. Each hand-designed operator is
the largest of its design within the ratio. *Published* has its authors' hyperparameters, placed alike for this depth
and grid; *tuned* has its own hyperparameters chosen by Optuna's TPE on the search split, published ones first, with as
many question evaluations as one search consumes ({samples:,}). `mean tokens` are visual tokens averaged over what
enters the decoder layers, `left` those after the last site. Prefill time is the median for a batch of {batch} prompts,
language model only, on {device} ({dtype}); memory is the most held beside weights and inputs.
"""
CAVEATS = (
    "A search step also runs backward, so at equal question evaluations a search takes about three times the compute of"
    " tuning. The questions of the few deployed trials by which it settles are counted with its own.",
    "The best of many designs on these questions is chosen by these questions, which flatters it; the searched operator"
    " of each ratio is chosen on validation questions.",
    "Eager prefill times of small models are mostly launches of kernels: read them as what was measured here, not as"
    " what a larger model gains.",
    "Designs were made for other models; published hyperparameters are no claim about what their authors would choose"
    " here.",
)


def markdown(
    header: dict[str, Any],
    points: pd.DataFrame,
    gaps: pd.DataFrame,
    volumes: pd.DataFrame,
    unreachable: pd.DataFrame,
    command: str = "",
) -> str:
    """The report."""
    values = {name: plain(value) if isinstance(value, str) else value for name, value in header.items()}
    parts = [
        f"# Searched and hand-designed operators: {plain(header['model'])}, {plain(header['task'])}",
        *_result(points, gaps),
    ]
    for ratio in sorted(points["ratio"].dropna().unique(), reverse=True):
        rows = points[(points["ratio"] == ratio) | (points["family"] == "unreduced")]
        parts += [f"## At compute ratio {ratio:g}", main_table(rows.sort_values("accuracy", ascending=False))]
    loose = points[points["ratio"].isna() & (points["family"] != "unreduced")]
    if len(loose):
        parts += ["## At a compute of their own", main_table(loose)]
    if len(gaps):
        parts += [
            "## Searched minus hand-designed",
            "Percentage points on the same questions, 95 % interval of a paired bootstrap; `only` counts the questions"
            " one of the two alone got right; p is McNemar's exact test, corrected after Holm over the whole table.",
            gaps_table(gaps),
        ]
    parts += [
        "## Hypervolume",
        "Area between the front and the corner (compute ratio 1, accuracy 0); more is better.",
        table(
            ("family", "design", "operators", "hypervolume"),
            [
                (row["family"], _called(row), row["operators"], f"{row['hypervolume']:.4f}")
                for row in volumes.to_dict("records")
            ],
        ),
        "## Per skill",
        skill_table(points),
        *(["## Further costs", cost_table(points)] if costs(points) else []),
        "## Method",
        METHOD.format(**values),
        "## Caveats",
        "\n".join(f"- {line}" for line in _caveats(header, points, unreachable)),
        "## How to reproduce",
        "\n".join(f"    {line}" for line in (command or reproduce(header), *_environment(header))),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def main_table(rows: pd.DataFrame) -> str:
    """One line an operator."""
    memory = rows["memory_mb"].notna().any()
    heads = ["operator", "accuracy %", "95 %", "ratio", "counted", "whole", "mean tokens", "left", "prefill ms"]
    full = rows["questions"].max()
    lines = []
    for row in rows.to_dict("records"):
        lines.append(
            [
                f"**{plain(row['name'])}**" if row["family"] == "searched" else plain(row["name"]),
                f"{100 * row['accuracy']:.1f}",
                f"{100 * row['accuracy_low']:.1f} .. {100 * row['accuracy_high']:.1f}",
                f"{row['compute_ratio']:.3f}",
                f"{row['counted_ratio']:.3f}",
                "" if math.isnan(row["whole_model_ratio"]) else f"{row['whole_model_ratio']:.3f}",
                f"{row['mean_tokens']:.1f}",
                f"{row['tokens_left']:.0f}",
                "" if math.isnan(row["prefill_ms"]) else f"{row['prefill_ms']:.2f}",
                *([f"{row['memory_mb']:.0f}"] if memory else []),
                plain(row["knobs"]) if row["variant"] == "tuned" else "",
            ]
        )
    return table([*heads, *(["memory MiB"] if memory else []), "tuned"], lines) if full else ""


def gaps_table(gaps: pd.DataFrame) -> str:
    """Every paired difference."""
    return table(
        ("ratio", "design", "difference", "95 %", "only searched", "only design", "p", "p (Holm)"),
        [
            (
                f"{row['ratio']:g}",
                _called(row),
                f"{100 * row['difference']:+.1f}",
                f"{100 * row['low']:+.1f} .. {100 * row['high']:+.1f}",
                row["only_searched"],
                row["only_design"],
                p_text(row["p"]),
                p_text(row["p_holm"]),
            )
            for row in gaps.to_dict("records")
        ],
    )


def skill_table(points: pd.DataFrame) -> str:
    """Accuracy in per cent by kind of question."""
    names = skills(points)
    return table(
        ("operator", *map(plain, names)),
        [
            (
                plain(row["name"]),
                *("" if pd.isna(row[f"skill:{name}"]) else f"{100 * row[f'skill:{name}']:.1f}" for name in names),
            )
            for row in points.to_dict("records")
        ],
    )


def cost_table(points: pd.DataFrame) -> str:
    """What else operators cost, each in its own unit."""
    names = costs(points)
    heads = [COSTS[name].label if name in COSTS else name for name in names]  # its package may be gone
    rows = points.to_dict("records")
    lines = [[plain(row["name"]), *(_amount(row[f"cost:{name}"]) for name in names)] for row in rows]
    return table(("operator", *map(plain, heads)), lines)


def _amount(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(cell: Any) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", printable(cell))


def p_text(p: float) -> str:
    """A p value, not with more digits than anybody believes."""
    if math.isnan(p):
        return ""
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def reproduce(header: dict[str, Any]) -> str:
    """The command that makes this comparison."""
    settings = Settings.of(**header["settings"]).model_dump(mode="json")  # with the defaults of what is not said
    words = [
        "eos",
        "compare",
        *settings["operators"],
        "--model",
        settings["model"],
        *options_of(settings["task"], settings["model"]),
    ]
    if settings["ratios"]:
        words += ["--ratios", ",".join(f"{ratio:g}" for ratio in settings["ratios"])]
    if settings["designs"] is not None:
        words += ["--designs", ",".join(settings["designs"]) or "none"]
    words += ["--tune", str(settings["tune"])] if settings["tune"] else []
    words += ["--questions", str(settings["questions"])]
    words += [] if settings["seeds"] is None else ["--seeds", str(settings["seeds"])]
    for key, value in settings["search"].items():
        words += ["--set", f"{key}={value if isinstance(value, str) else strict_json.dumps(value)}"]
    words += [f"--{name.replace('_', '-')}" for name in ("trust_remote_code", "allow_missing") if settings.get(name)]
    return printable(shlex.join(map(str, words)))


def _result(points: pd.DataFrame, gaps: pd.DataFrame) -> list[str]:
    """What came out, in a sentence a ratio."""
    lines = []
    for ratio in gaps["ratio"].unique():
        rows = gaps[gaps["ratio"] == ratio].sort_values("difference")
        closest = rows.iloc[0]
        searched = points.loc[points["name"] == closest["searched"], "accuracy"].iloc[0]
        ahead = int(((rows["difference"] > 0) & (rows["p_holm"] < 0.05)).sum())
        lines.append(
            f"- **{ratio:g}**: {plain(closest['searched'])} {searched:.1%}; against the best design there,"
            f" {_called(closest)}:"
            f" {100 * closest['difference']:+.1f} points ({100 * closest['low']:+.1f} .. {100 * closest['high']:+.1f},"
            f" p {p_text(closest['p_holm'])} after Holm); ahead of {ahead} of {len(rows)} with p below .05 after Holm."
        )
    full = points.loc[points["family"] == "unreduced", "accuracy"]
    head = f"Unreduced model: {full.iloc[0]:.1%}." if len(full) else ""
    return [head, "\n".join(lines)]


def _caveats(header: dict[str, Any], points: pd.DataFrame, unreachable: pd.DataFrame) -> list[str]:
    off = (points["counted_flops"] / points["flops"] - 1).abs().max()
    lines = list(CAVEATS)
    if not math.isnan(off):
        lines.append(f"Analytic and counted FLOPs of these operators differ by at most {off:.2%}.")
    used = points["compute_ratio"] / points["ratio"]
    for row in points[used < 0.95].to_dict("records"):
        lines.append(
            f"{plain(row['name'])} uses only {row['compute_ratio']:.3f} of compute: it has no larger form within it."
        )
    lines += map(plain, slower(header, points))
    for row in unreachable.to_dict("records"):
        lines.append(f"{plain(row['name'])}: no result: {plain(row['reason'])}.")
    return lines


def slower(header: dict[str, Any], points: pd.DataFrame) -> list[str]:
    """In words, which operators save FLOPs and no time where they were measured; a line at most."""
    whole = points.loc[points["family"] == "unreduced", "prefill_ms"]
    if whole.empty or math.isnan(whole.iloc[0]):
        return []
    rows = [row for row in points.to_dict("records") if row["family"] != "unreduced" and row["prefill_ms"] > 0]
    idle = [row for row in rows if not pays(row["prefill_ms"], whole.iloc[0])]
    if not idle:
        return []
    named = ", ".join(f"{row['name']} ({row['prefill_ms']:.4g} ms)" for row in idle[:NAMED])
    more = f" and {len(idle) - NAMED} more" if len(idle) > NAMED else ""
    return [
        f"{len(idle)} of {len(rows)} operators do not pay on {header['device']} at batch {header['batch']}, where"
        f" the unreduced prefill takes {whole.iloc[0]:.4g} ms: {named}{more}."
    ]


NAMED = 5  # operators, in a line


def _environment(header: dict[str, Any]) -> list[str]:
    return [printable(f"# Python {header['python']}, torch {header['torch']}, {header['device']}, {header['dtype']}")]


def _called(row: Any) -> str:
    return plain(f"{row['design']}, {row['variant']}" if row["variant"] else row["design"])
