"""Searches on films: prompts of several pictures of one size, sites of whole films, designs that begin with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eos_platform.costs.flops import compute_ratio, prefill_flops
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.runtime import site_step
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.designs import get_design
from eos_platform.operators.designs.films.over import over_film
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import evaluate
from eos_platform.tasks.examples import Examples
from eos_platform.tasks.prompts import Prompt

torch.set_num_threads(1)
SAMPLE, FRAMES = SAMPLES["Qwen2.5-VL"], 4


class OfFilms(Examples):
    """Pictures of a prompt are the frames of one film."""

    films = True


@pytest.fixture(scope="module")
def subject() -> Examples:
    size = SAMPLE.sizes[0]

    def asked(count: int, seed: int) -> list[Prompt]:
        return [
            Prompt(prompts(SAMPLE, [[size] * FRAMES], (5,), seed=seed + k), (7 + k % 3,), picture=seed + k)
            for k in range(count)
        ]

    return OfFilms(fresh(SAMPLE), None, {"search": asked(6, 0), "validation": asked(4, 20), "heldout": asked(4, 40)})


def test_the_target_of_a_film_counts_its_frames(subject: Examples) -> None:
    target = subject.target
    assert target.frames == FRAMES
    assert target.tokens == FRAMES * SAMPLE.tokens(SAMPLE.sizes[0])
    assert target.axes == (FRAMES, target.grid[0] // FRAMES, target.grid[1])
    subject_of_pictures = Examples(subject.model, None, subject.examples)
    assert subject_of_pictures.target.grid == (1, target.tokens)
    assert subject_of_pictures.target.frames == 1


@pytest.mark.parametrize(("start", "budget"), [("default", 0.7), ("evs", 0.7), ("vidcom2", 0.7), ("pairs", 0.5)])
def test_sites_of_whole_films_are_found_within_the_budget(subject: Examples, start: str, budget: float) -> None:
    config = SearchConfig(scope="film", start=start, budget=budget, steps=6, batch_size=2, portfolio=False)
    result = search(subject, config)
    assert result.operator.scope == "film"
    assert result.compute_ratio <= budget
    assert compute_ratio(result.operator, subject.shape, subject.text_tokens) == pytest.approx(result.compute_ratio)
    assert OperatorSpec.from_json(result.operator.to_json()) == result.operator
    assert len(evaluate(subject, result.operator, "heldout", 4).scores) == 4


@pytest.mark.parametrize(
    "name", ["evs", "vidcom2", "framefusion", "fastvid", "prunevid", "holitom", "tome", "divprune"]
)
def test_costs_are_what_is_counted(subject: Examples, name: str) -> None:
    typical = subject._typical
    text = typical.lengths[typical.middle()] - subject.target.tokens
    design = get_design(name)
    for made in [design] if design.films else [design, over_film(design)]:
        operator = made.build(subject.target, subject.target.tokens * 0.5, positions="keep")
        counted = subject.counted_flops(operator)
        assert prefill_flops(subject.shape, text, operator, subject.target.tokens) == pytest.approx(counted, rel=0.01)


def test_attention_in_the_tower_is_kept_as_the_model_itself_reads_it(
    subject: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[torch.Tensor] = []
    real = site_step.reduce

    def spy(site: Any, tokens: Any, given: dict[str, torch.Tensor], grid: Any) -> Any:
        found.extend(given["received"])
        return real(site, tokens, given, grid)

    monkeypatch.setattr(site_step, "reduce", spy)
    operator = get_design("fastvid").build(subject.target, subject.target.tokens * 0.5)
    evaluate(subject, operator, "heldout", 4)
    kept, asked = list(found), subject.examples["heldout"]
    found.clear()
    with attached(subject.model, operator), torch.no_grad():
        for prompt in asked:
            subject.model(**prompt.inputs)
    assert len(kept) == len(found) == len(asked)
    for one, other in zip(kept, found, strict=True):
        torch.testing.assert_close(one, other)
