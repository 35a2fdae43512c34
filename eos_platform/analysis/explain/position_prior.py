"""What a feature is usually worth at each place of the picture, measured over many pictures and put into an operator.

    python -m eos_platform.analysis.explain.position_prior --model bundled-small-v2 --design d2pruner --tokens 24 \
        --out d2pruner.json                           # a design, debiased on questions of the search split
    python -m eos_platform.analysis.explain.position_prior --model bundled-qwen --operator own.json --out o.json

The mean of the feature at the first site that reads it, where no token has left yet; pictures of another grid count at
the places they cover. Printed as a small picture: rows down, a digit a place, 9 the largest. A design says which
feature it is (``prior_of``); of an operator it is the only one that site's score has.

Legend: u pictures, n visual tokens of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import check_fits, parts_of
from eos_platform.models.attention.rope import Rope
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.decoder_hooks import DecoderHooks
from eos_platform.models.runtime.registry import refuse_taken, registered
from eos_platform.models.runtime.site_step import Step, features_at
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.designs import get_design
from eos_platform.operators.grid import Grid
from eos_platform.operators.plan import OperatorPlan, PlannedSite
from eos_platform.operators.prior import Prior
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject

QUESTIONS, BATCH = 1000, 32


class _Reader(DecoderHooks):
    """An operator at work that adds up a feature, place by place, as it is where a site is about to act."""

    feature = ""
    site = -1
    sums: dict[Grid, tuple[Tensor, int]]

    def _apply(self, planned: PlannedSite, present: TokenState, x_bkd: Tensor, rope: Rope, layer: Any) -> Step:
        if planned.number == self.site:
            sites = self._fitted(planned, present)
            for group, given in zip(
                present.groups, features_at(sites, present, x_bkd, rope, layer, self.parts), strict=True
            ):
                values_un = given[self.feature].double()
                before, many = self.sums.get(group.grid, (torch.zeros_like(values_un[0]), 0))
                self.sums[group.grid] = before + values_un.sum(0), many + len(values_un)
        return super()._apply(planned, present, x_bkd, rope, layer)


@torch.no_grad()
def debiased(subject: Subject, operator: OperatorSpec, feature: str = "", questions: int = QUESTIONS) -> OperatorSpec:
    """An operator whose first site that reads a feature divides it by what is usual on this model, place by place.

    Args:
        subject: whose questions of the search split are asked.
        operator: without prior there.
        feature: default: the only one that the first site with a score has.
        questions: so many of them.

    Raises:
        EosError: no site reads it where no token has left yet, or the model cannot run the operator.
    """
    reads = [bool(site.score.get(feature) if feature else site.score) for site in operator.sites]
    number = reads.index(True) if True in reads else None
    site = None if number is None else operator.sites[number]
    feature = feature or (next(iter(site.score)) if site is not None and len(site.score) == 1 else "")
    whole = number is not None and operator.incoming[number] == operator.target.tokens
    if site is None or number is None or not feature or site.place != "decoder" or not whole:
        raise EosError(
            f"operator '{operator.name}': a prior is of one feature, at a site in the decoder where all tokens are"
        )
    model = unwrapped(subject.model)
    refuse_taken(model)
    plain = operator.model_copy(update={"sites": operator.sites[: number + 1]})
    check_fits(parts_of(model), plain)
    encoded = subject.encoded("search", questions)
    sums: dict[Grid, tuple[Tensor, int]] = {}
    for batch in encoded.batches(min(BATCH, len(encoded))):
        with registered(model, partial(_Reader, model, parts_of(model), OperatorPlan.of(plain), batch.layout)) as hooks:
            hooks.feature, hooks.site, hooks.sums = feature, number, sums
            adapter_of(model).forward(batch.prefill)
    prior = _together(feature, sums, operator.target.grid)
    sites = [site.model_copy(update={"prior": prior}) if k == number else site for k, site in enumerate(operator.sites)]
    said: dict[str, JsonValue] = {"feature": feature, "questions": len(encoded)}
    provenance = {**operator.provenance, "prior": said}
    return OperatorSpec.model_validate({**operator.model_dump(), "sites": sites, "provenance": provenance})


def _together(feature: str, sums: dict[Grid, tuple[Tensor, int]], grid: Grid) -> Prior:
    """One prior of all grids, each counting as many times as pictures have it."""
    total, pictures = [0.0] * (grid[0] * grid[1]), sum(many for _, many in sums.values())
    for own, (sum_n, many) in sums.items():
        numbers = Prior.of(feature, sum_n.tolist()).resampled(own, grid).numbers
        total = [a + b * many / pictures for a, b in zip(total, numbers, strict=True)]
    return Prior.of(feature, total)


def shown(prior: Prior, grid: Grid) -> str:
    """A line a row, a digit a place: tenths of the largest."""
    numbers, most = prior.numbers, max(prior.numbers)
    digits = "".join(str(min(9, int(10 * number / most))) for number in numbers)
    return "\n".join(digits[row * grid[1] : (row + 1) * grid[1]] for row in range(grid[0]))


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="bundled, or a folder")
    parser.add_argument("--task", help="default: what a bundled model was trained on")
    parser.add_argument("--design", help="whose operator it is; takes --tokens")
    parser.add_argument("--tokens", type=float, help="mean visual tokens, of a design")
    parser.add_argument("--operator", type=Path, help="an operator file, instead of a design")
    parser.add_argument("--feature", default="", help="of several that a score has")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="of the search split")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, required=True, help="the operator file to write")
    given = parser.parse_args(words)
    try:
        if (given.design is None) == (given.operator is None) or (given.design is None) != (given.tokens is None):
            raise EosError("say --design and --tokens, or --operator")
        subject = load_workload(given.model, given.task, given.device)
        feature = given.feature
        if given.design:
            design = get_design(given.design)
            operator, feature = design.build(subject.target, given.tokens), feature or design.prior_of
        else:
            operator = OperatorSpec.load(given.operator)
        made = debiased(subject, operator, feature, given.questions)
        made.save(given.out)
    except EosError as error:
        terminal.say(f"position_prior: {error}", stderr=True)
        return 2
    prior = next(site.prior for site in made.sites if site.prior is not None)
    terminal.say(shown(prior, made.target.grid))
    terminal.say(f"{given.out}: '{prior.feature}' is divided by this")
    return 0


if __name__ == "__main__":
    terminal.run(main)
