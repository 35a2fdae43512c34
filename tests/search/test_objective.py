"""The loss, written out again with loops: scales, means and signs, and what each rule of the budget adds."""

import math
from types import SimpleNamespace

import pytest
import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.search import SearchConfig
from eos_platform.search.objective import excess, losses, total_loss

PARTS = {"task_loss": torch.tensor(2.0), "distill_loss": torch.tensor(0.7), "align_loss": torch.tensor(0.3)}
WEIGHTS = {"task_weight": 1.5, "distill_weight": 0.25, "align_weight": 4.0}
WEIGHED = 1.5 * 2.0 + 0.25 * 0.7 + 4.0 * 0.3


def test_losses_are_means_over_the_answer_tokens_that_exist() -> None:
    g = torch.Generator().manual_seed(0)
    model = built(SAMPLES["LLaVA-1.5"])
    width, words = model.lm_head.in_features, model.lm_head.out_features
    state, teacher = torch.randn(3, 4, width, generator=g), torch.randn(3, 4, width, generator=g)
    target = torch.randint(0, words, (3, 4), generator=g)
    wanted = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    found = losses(adapter_of(model), state, teacher, SimpleNamespace(target_ba=target, wanted_ba=wanted))
    sums, tokens = dict.fromkeys(found, 0.0), 0
    for row, place in wanted.nonzero().tolist():
        own = model.lm_head(state[row, place]).softmax(-1).tolist()
        wise = model.lm_head(teacher[row, place]).softmax(-1).tolist()
        cosine = torch.cosine_similarity(state[row, place], teacher[row, place], dim=0)
        sums["task_loss"] -= math.log(own[int(target[row, place])])
        sums["distill_loss"] += sum(q * (math.log(q) - math.log(p)) for p, q in zip(own, wise, strict=True))
        sums["align_loss"] += 1 - float(cosine)
        tokens += 1
    assert tokens == 7
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: value / tokens for name, value in sums.items()}, rel=1e-5
    )


def test_only_the_searched_model_learns() -> None:
    model = built(SAMPLES["LLaVA-1.5"])
    width = model.lm_head.in_features
    state, teacher = torch.randn(2, 2, width, requires_grad=True), torch.randn(2, 2, width, requires_grad=True)
    batch = SimpleNamespace(target_ba=torch.zeros(2, 2, dtype=torch.long), wanted_ba=torch.ones(2, 2, dtype=torch.bool))
    found = losses(adapter_of(model), state, teacher, batch)["distill_loss"]
    found.backward()
    assert teacher.grad is None
    assert state.grad is not None
    assert state.grad.abs().sum() > 0


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.4])
@pytest.mark.parametrize(
    ("rule", "added"),
    [
        ("exact", lambda ratio: 0.0),
        ("two-sided", lambda ratio: 3.0 * (ratio / 0.25 - 1) ** 2),
        (
            "penalty",
            lambda ratio: 3.0 * (max(0.0, ratio / 0.25 - 1) + max(0.0, ratio / 0.25 - 1) ** 2) + 0.6 * ratio / 0.25,
        ),
    ],
)
def test_the_total_is_the_weighted_sum_and_what_the_rule_adds(rule, added, ratio) -> None:
    config = SearchConfig(budget=0.25, budget_rule=rule, cost_weight=0.6, **WEIGHTS)
    found = total_loss(PARTS, torch.tensor(ratio), torch.tensor(3.0), config)
    assert float(found) == pytest.approx(WEIGHED + added(ratio), rel=1e-6)


def test_excess_is_relative_and_one_sided() -> None:
    assert excess(torch.tensor([0.1, 0.25, 0.5, 1.0]), 0.25).tolist() == pytest.approx([0.0, 0.0, 1.0, 3.0])
