"""Operators adjusted to a model without labels: within the budget, closer to its answers, whatever the operator."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from eos_platform.analysis.transfer.calibration import choice as module
from eos_platform.analysis.transfer.calibration import prompts as sampling
from eos_platform.analysis.transfer.calibration.answers import Answers
from eos_platform.analysis.transfer.calibration.choice import Setting, _best, _changed, calibrated
from eos_platform.analysis.transfer.calibration.dependence import dependence_of
from eos_platform.analysis.transfer.calibration.prompts import Prompts
from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer
from eos_platform.search.cost import flops_cost
from eos_platform.tasks import Workload

FOUND = OperatorSpec(
    name="found",
    target=Target(layers=12, grid=(8, 8)),
    sites=(
        SiteSpec(
            layer=0, keep=16, selector="diverse_topk", score={"norm": 0.02, "uniqueness": 0.01}, spread=2.0,
            probe=(1.0, 2.0), transfer=Transfer(gamma=0.9, tau=0.05), beta=1.0,
        ),
        SiteSpec(layer=8, keep=4, score={"last_text": 0.1}, probe=(1.0, -1.0)),
    ),
)  # fmt: skip


def test_a_calibrated_operator_is_closer_within_the_budget(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "POOL", 256)
    monkeypatch.setattr(sampling, "MADE_OF", 32)
    monkeypatch.setattr(sampling, "CHOSEN_BY", 16)
    monkeypatch.setattr(module, "TRIED", {"features": (None, 1.0), "split": (1.0, 0.5)})
    cost = flops_cost(small)
    made = calibrated(FOUND, small, cost, 0.3, rank=2)
    assert 0.28 < cost.deployed(made.operator) <= 0.3
    prompts = Prompts.of(small)
    answers = Answers(small, prompts)
    plain = module.fitted(FOUND, small, cost, 0.3)[0]
    before, after = (float(answers.divergence(one).mean()) for one in (plain, made.operator))
    assert after < before
    assert made.changes[-1].endswith(f"-> {after:.3f}")
    readings = module._readings(small, tuple(site.layer for site in plain.sites), 2, prompts)[0]
    for site in module._directed(plain, readings, 0.5).sites:
        assert len(site.probe) == small.shape.hidden
        assert sum(weight**2 for weight in site.score.values()) ** 0.5 == pytest.approx(0.5, rel=1e-3)
    assert made.prompts == 32 + 16 * 4  # the directions'; the model, and three operators
    again = calibrated(FOUND, small, cost, 0.3, rank=2)
    assert again.operator == made.operator
    assert again.seconds > 0 == made.seconds  # the directions are made once, and count for each
    undirected = calibrated(FOUND, small, cost, 0.3, rank=None)
    assert not any(site.probe for site in undirected.operator.sites)


def test_what_answers_depend_on_is_told_of_every_token(small: Workload) -> None:
    prompts = Prompts(small.few("search", 256), frozenset(range(100, 124)), frozenset())
    found = dependence_of(small, (0, 3), prompts)
    assert [len(found.pieces[layer]) for layer in (0, 3)] == [1, 1]
    piece = found.pieces[0][0]
    assert piece.question_u.tolist() == list(range(24))
    assert piece.tokens_und.shape[:2] == piece.pull_un.shape == (24, small.target.tokens)
    assert torch.allclose(piece.pull_un.mean(1), torch.zeros(24), atol=1e-5)
    assert torch.allclose(piece.pull_un.square().mean(1), torch.ones(24), atol=1e-3)
    assert not any(value.grad is not None for value in small.model.parameters())


def test_the_next_settings_begin_at_the_best_so_far() -> None:
    """Each is tried with what was chosen before; one that is impossible is passed over, none is asked twice."""
    asked: list[Setting] = []

    def made(setting: Setting) -> SimpleNamespace:
        if setting.split == 0:
            raise EosError("no such split")
        return SimpleNamespace(sites=replace(setting, tau=min(setting.tau, 1.0)))

    def divergence(operator: SimpleNamespace) -> torch.Tensor:
        asked.append(operator.sites)
        good = {"features": 1.0, "split": 1.5, "spread": 1.0, "tau": 0.3}
        right = sum(getattr(operator.sites, name) == value for name, value in good.items())
        unsure = 0.1 if operator.sites.gamma == 0.2 else 0.0  # better on average, but not for every prompt
        return torch.tensor([1.0 - 0.1 * right - unsure, 1.0 - 0.1 * right + 0.5 * unsure])

    _, setting, told = _best(made, divergence, {})
    assert setting == Setting(features=1.0, split=1.5, spread=1.0, tau=0.3)
    assert told == ["features 1, split 1.5, tau 0.3: KL divergence 0.900 -> 0.600"]
    assert len(asked) == len(set(asked)) == 1 + 3 + 2 + 2 + 2 + 1


@pytest.mark.parametrize(("split", "counts"), [(1.0, [16, 4]), (0.5, [16, 8]), (1.5, [16, 2]), (0.0, [16])])
def test_tokens_are_split_otherwise_among_sites(split: float, counts: list[int]) -> None:
    made = _changed(FOUND, Setting(gamma=0.2, split=split, spread=2.0, tau=3.0))
    assert [site.keep for site in made.sites] == counts
    assert made.sites[0].spread == 4.0
    assert [site.transfer.gamma for site in made.sites] == [0.2, 0.0][: len(counts)]  # what merges nothing stays so
    assert made.sites[0].transfer.tau == pytest.approx(0.15)


def test_prompts_are_of_many_pictures_and_judged_on_others(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "POOL", 256)
    monkeypatch.setattr(sampling, "MADE_OF", 64)
    prompts = Prompts.of(small)
    about = list(prompts.encoded.about)
    made, chosen = ({about[number] for number in some} for some in (prompts.made_of, prompts.chosen_by))
    assert not made & chosen
    assert len(made) > 2 * len(set(about[:64]))
    assert len(prompts.made_of) == 64
    portioned = [number for some in prompts.portions(prompts.made_of, 10) for number in some.tolist()]
    assert sorted(portioned) == sorted(prompts.made_of)
    again = Prompts.of(small)
    assert (prompts.made_of, prompts.chosen_by) == (again.made_of, again.chosen_by)
