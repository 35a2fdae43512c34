"""What every family does, on small random models of the real classes, and searches of the bundled models.

    python -m eos_platform.analysis.experiments.families_matrix                      # all of it: some minutes
    python -m eos_platform.analysis.experiments.families_matrix "Qwen3.5" "Mistral 3" --models ""

prints a table in Markdown: families down; across how many cases held of each, or ``x`` where one did not, and below it
why. ``identity``, ``relaxed identity``, ``gradient finite`` and ``mixed sizes`` (prompts with pictures of other sizes
and numbers in one batch are answered as if alone) are checks of the conformance suite. ``search``: 20 steps learn, and
keep to the budget. ``deployed = relaxed``: what the search ended with, by either form, question by question.
``compute count``: of operators, within 1 % of the FLOPs counted while the prefill runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.costs.flops import prefill_flops, shape_of
from eos_platform.costs.profiled_flops import counted_flops
from eos_platform.models.adapters.target import target_of
from eos_platform.models.bundled import MODELS
from eos_platform.models.conformance.checks import CHECKS
from eos_platform.models.conformance.subjects import fresh, samples, specs
from eos_platform.models.conformance.zoo import Picture, Sample, prompts
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import answer_states
from eos_platform.tasks.examples import Examples
from eos_platform.tasks.prompts import Prompt
from eos_platform.tasks.scenes import Split

STEPS, QUESTIONS, BUDGET = 20, 8, 0.6
TEXT = 11  # tokens of the prompts that FLOPs are counted of
COUNTED = ("prune", "many", "merge at 0", "pool")  # operators of the conformance suite
CLOSE: dict[str, Any] = {"atol": 2e-4, "rtol": 1e-4}
NAMED = {
    "identity": "identity",
    "relaxed identity": "relaxed identity",
    "gradient finite": "relaxed gradients",
    "mixed sizes": "rows as if alone",
}
COLUMNS = (*list(NAMED)[:3], "search", "deployed = relaxed", "compute count", "mixed sizes")


@dataclass
class Row:
    """One family: how many cases held, by column, and what did not."""

    held: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def tried(self, column: str, run: Callable[[], int]) -> None:
        """Note what a column comes to."""
        try:
            self.held[column] = str(run())
        except Exception as error:  # a table with the failure in its place says more than a traceback
            self.held[column] = "x"
            self.failures[column] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def asked(sample: Sample, count: int, sizes: Sequence[Picture], seed: int = 0) -> list[Prompt]:
    """Questions about one picture each, of different lengths, with answers of one token or two."""
    return [
        Prompt(
            prompts(sample, [[sizes[number % len(sizes)]]], (4 + number % 3,), seed=seed + number),
            (7 + number % 5, *(11,) * (number % 2)),
            picture=number,
            skill=("odd", "even")[number % 2],
        )
        for number in range(count)
    ]


def ended(end: Mapping[str, Any]) -> int:
    """What a search ended with, by either form.

    Raises:
        AssertionError: it ended with nothing, or they differ.
    """
    assert "operator" in end, "the search ended with nothing"
    return alike(end["subject"], end["operator"], QUESTIONS)


def searched(subject: Subject, config: SearchConfig) -> OperatorSpec:
    """What a search ends with.

    Raises:
        AssertionError: it came to numbers that are none, learned nothing or broke its budget.
    """
    result = search(subject, config)
    assert all(np.isfinite(value) for step in result.history for value in step.values()), "no finite numbers"
    assert all(torch.isfinite(value).all() for value in result.parameters.values()), "no finite parameters"
    assert (result.parameters["probe"] != 0).any(), "nothing learned"
    assert result.compute_ratio <= config.budget, f"{result.compute_ratio} is above the budget"
    assert result.operator.sites, "no sites"
    return result.operator


@torch.no_grad()
def alike(subject: Subject, operator: OperatorSpec, questions: int) -> int:
    """Questions whose answers begin alike, whether tokens are removed or only closed.

    Raises:
        AssertionError: they do not.
    """
    model, tokens, found = subject.model, subject.target.tokens, 0
    for batch in subject.encoded("validation", questions).batches(4):
        with reducing(model, operator, batch.layout):
            deployed_bad = answer_states(model, batch)
        twins = [RelaxedSite.of(site, model.device) for site in operator.sites]
        with relaxed(model, twins, batch.layout, temperature=0.03, hard=True, tokens=tokens):
            relaxed_bad = answer_states(model, batch)
        there = batch.wanted_ba
        difference = (deployed_bad - relaxed_bad).abs()[there]
        assert torch.allclose(deployed_bad[there], relaxed_bad[there], **CLOSE), f"{float(difference.max()):.1e} apart"
        found += len(there)
    return found


def counted(model: Any) -> int:
    """Operators whose FLOPs are foretold within 1 %, the unreduced model among them.

    Raises:
        AssertionError: they are not.
    """
    if hasattr(model, "set_experts_implementation"):  # the fused product is unknown to torch's counter
        model.set_experts_implementation("eager")
    shape, tokens, tried = shape_of(model), target_of(model).tokens, specs(model)
    for name, operator in {"unreduced": None, **{one: tried[one] for one in COUNTED}}.items():
        foretold, found = prefill_flops(shape, TEXT, operator, tokens), counted_flops(model, operator, TEXT)
        assert abs(foretold / found - 1) < 0.01, f"{name}: {foretold / found:.4f} of what was counted"
    return 1 + len(COUNTED)


def family_row(sample: Sample, columns: Sequence[str] = COLUMNS) -> Row:
    """Columns of one family, in their order."""
    row = Row()
    end: dict[str, Any] = {}

    def finds() -> int:
        one = sample.sizes[:1]
        given: dict[Split, list[Prompt]] = {
            "search": asked(sample, QUESTIONS, one),
            "validation": asked(sample, QUESTIONS, one, 50),
        }
        end["subject"] = Examples(fresh(sample), None, given)
        config = SearchConfig(
            budget=BUDGET,
            steps=STEPS,
            batch_size=4,
            search_questions=QUESTIONS,
            eval_questions=QUESTIONS,
            layers=(0, 2),
        )
        end["operator"] = searched(end["subject"], config)
        return STEPS

    runs: dict[str, Callable[[], int]] = {
        "search": finds,
        "deployed = relaxed": lambda: ended(end),
        "compute count": lambda: counted(fresh(sample)),
        **{column: partial(CHECKS[check], sample) for column, check in NAMED.items()},
    }
    for column in columns:
        row.tried(column, runs[column])
    return row


def bundled_row(name: str, device: str | None) -> Row:
    """Search and its end of a bundled model, on the task it was trained on."""
    row = Row()
    end: dict[str, Any] = {}

    def finds() -> int:
        end["subject"] = load_workload(name, device=device)
        config = SearchConfig(budget=BUDGET, steps=STEPS, batch_size=4, search_questions=32, eval_questions=QUESTIONS)
        end["operator"] = searched(end["subject"], config)
        return STEPS

    row.tried("search", finds)
    row.tried("deployed = relaxed", lambda: ended(end))
    return row


def table(rows: Mapping[str, Row]) -> str:
    """Markdown: families down, and below it what did not hold."""
    lines = [["family", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    lines += [[name, *(row.held.get(column, "") for column in COLUMNS)] for name, row in rows.items()]
    failures = [f"{name}: {column}: {why}" for name, row in rows.items() for column, why in row.failures.items()]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), *failures])


def main(words: Sequence[str] | None = None) -> int:
    """See the module's first lines; 1 where anything did not hold."""
    known = samples()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help="default: all")
    parser.add_argument("--models", default=",".join(MODELS), help="bundled models, with commas between; default: all")
    parser.add_argument("--device", default="cpu", help="of the bundled models")
    given = parser.parse_args(words)
    bundled = [name for name in given.models.split(",") if name]
    for kind, names, kinds in (("family", given.families, known), ("model", bundled, MODELS)):
        for name in names:
            if name not in kinds:
                raise EosError(str(unknown(kind, name, kinds)))
    rows: dict[str, Row] = {}
    for name in given.families or known:
        rows[name] = family_row(known[name])
        terminal.say(f"{name}: {' '.join(rows[name].held.values())}", stderr=True)
    for name in bundled:
        rows[name] = bundled_row(name, given.device)
        terminal.say(f"{name}: {' '.join(rows[name].held.values())}", stderr=True)
    terminal.say(table(rows))
    return int(any(row.failures for row in rows.values()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
