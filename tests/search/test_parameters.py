"""What a search turns: where it begins, how its bounded values are read, and the count an exact rule solves for."""

import itertools
import math

import pytest
import torch

from eos_platform.analysis.experiments.search_ablations import variants
from eos_platform.operators.spec import FEATURES, Target
from eos_platform.search import SearchConfig
from eos_platform.search.cost import parabola
from eos_platform.search.parameters import Parameters, candidate_layers, new_optimiser, support_of
from eos_platform.search.schedule import Schedule

TARGET = Target(layers=16, grid=(6, 10))


def plain(value):
    if isinstance(value, torch.Tensor):
        few = value.detach().double().flatten()  # sums that cancel must not depend on the order
        return few.tolist() if len(few) <= 12 else [few.sum().item(), few.norm().item(), few[1].item()]
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


OF_DESIGNS = (
    "scope",
    "template",
    "mixes",
    "protect",
    "metric",
    "suppress",
    "prior",
    "exclude_padding",
)  # which the search's own sites have not


def begun(settings):
    """A search at its first step: the sites it begins with, its schedule, its optimiser."""
    config = SearchConfig.of({"budget": 0.2, **settings})
    parameters = Parameters(config, TARGET.model_copy(update={"layers": 8}), 6)
    for number, value in enumerate(parameters.parameters()):
        if not value.any():  # begins at zero: moved, so that a wrong scale shows
            value.data += 0.1 * (1 + number)
    if parameters.mean_question.numel():
        parameters.mean_question += 0.01
    sites = parameters.sites(parameters.shares() * 60)
    schedule = Schedule(config)
    steps = (0, 3, 40, config.steps // 2, config.steps - 1)
    group = new_optimiser(parameters, config).param_groups[0]
    found = {
        f"site {n}": {k: plain(v) for k, v in vars(site).items() if k not in OF_DESIGNS} for n, site in enumerate(sites)
    }
    found["mask"] = plain(parameters.mask)
    found["schedule"] = [[schedule.rate(s), schedule.temperature(s), schedule.budget(s)] for s in steps]
    found["optimiser"] = [group["lr"], *group["betas"], schedule.soft_steps]
    return {"settings": settings, **found}


def test_recorded_variants(recorded):
    recorded("search-variants", {name: begun(settings) for name, settings in variants(8).items()})


@pytest.mark.parametrize(("a", "b", "c"), [(1e-5, 0.002, 0.05), (0.0, 0.004, 0.1), (3e-5, 0.0, 0.1)])
@pytest.mark.parametrize("budget", [0.11, 0.3])
def test_an_exact_rule_solves_for_the_first_count(a, b, c, budget):
    """Where the ratio is a parabola in the scale of all counts, the budget is met to rounding."""
    config = SearchConfig(budget=budget, layers=(0, 4, 8))
    parameters = Parameters(config, TARGET, 6)
    parameters.keep.data = torch.tensor([0.3, 1.0, -0.5])
    sigmoid = [1 / (1 + math.exp(-value)) for value in (1.0, -0.5)]
    shares = [1.0, sigmoid[0], sigmoid[0] * sigmoid[1]]
    assert parameters.shares().tolist() == pytest.approx(shares, rel=1e-6)

    def ratio(counts):
        return a * counts[0] ** 2 + b * counts[0] + c

    found = parameters.counts(lambda sites, *of: parabola(ratio, *of), budget)
    root = (-b + math.sqrt(b * b - 4 * a * (c - budget))) / (2 * a) if a else (budget - c) / b
    scale = min(max(root, 1.0), TARGET.tokens - 1.0)
    assert found.tolist() == pytest.approx([max(1.0, scale * share) for share in shares], rel=1e-4)


def test_without_an_exact_rule_each_site_keeps_its_own_share():
    parameters = Parameters(SearchConfig(budget_rule="penalty", layers=(0, 4)), TARGET, 6)
    parameters.keep.data = torch.tensor([0.0, -6.0])
    found = parameters.counts(lambda sites, *of: parabola(torch.sum, *of), 0.2)
    assert found.tolist() == pytest.approx([30.0, 1.0])  # half of 60, and of that a share that is below one token


def test_bounded_values_stay_in_bounds_however_far_the_parameters_go():
    parameters = Parameters(SearchConfig(layers=(0, 4)), TARGET, 6)
    for sign, (tau, rho, spread, unit) in {-1: (1e-3, 0.0, 0.0, 0.0), 1: (10.0, 10.0, 10.0, 1.0)}.items():
        for value in (parameters.log_tau, parameters.rho, parameters.spread, parameters.gamma, parameters.nu):
            value.data.fill_(sign * 90.0)
        parameters.beta.data.fill_(sign * 90.0)
        site = parameters.sites(torch.tensor([20.0, 10.0]))[0]
        found = [site.tau, site.rho, site.spread, site.gamma, site.nu, site.beta]
        assert [value.item() for value in found] == pytest.approx([tau, rho, spread, unit, unit, unit], abs=1e-6)


def test_once_counts_are_fixed_sites_that_remove_nothing_are_gone():
    parameters = Parameters(SearchConfig(layers=(0, 4, 8)), TARGET, 6)
    for fixed, layers in (((60, 30, 30), [4]), ((50, 50, 20), [0, 8]), ((60, 60, 60), []), ((9, 8, 7), [0, 4, 8])):
        parameters.fixed = fixed
        assert parameters.whole().tolist() == list(fixed)
        assert [site.layer for site in parameters.sites(parameters.whole())] == layers


@pytest.mark.parametrize(("depth", "layers"), [(1, (0,)), (2, (0, 1)), (8, (0, 5)), (32, (0, 20)), (3, (0, 2))])
def test_sites_stand_before_the_model_and_at_five_eighths_of_it(depth, layers):
    assert candidate_layers(SearchConfig(), TARGET.model_copy(update={"layers": depth})) == layers


def test_supports():
    for kind, size in (("all", None), ("nearest", 4), ("window", 3)):
        support = support_of(SearchConfig(support=kind), TARGET)
        assert (support.kind, support.size) == (kind, size)
    assert support_of(SearchConfig(support="window"), Target(layers=2, grid=(3, 5))).size == 1


def test_features_of_the_first_site_do_not_wait_for_text():
    parameters = Parameters(SearchConfig(layers=(0, 1)), TARGET, 6)
    text = {"last_text", "mean_text"}
    assert [bool(flag) for flag in parameters.mask[0]] == [name not in text for name in FEATURES]
    assert parameters.mask[1].tolist() == [1.0] * len(FEATURES)
    first, second = parameters.sites(torch.tensor([20.0, 10.0]))
    assert not text & set(first.features)
    assert second.features == FEATURES
    assert all(w == 0 for w, name in zip(first.weights.tolist(), FEATURES, strict=True) if name in text)


def test_a_steered_probe_leaves_out_what_all_questions_have_in_common():
    parameters = Parameters(SearchConfig(layers=(0, 4), steering_rank=2), TARGET, 3)
    draw = torch.Generator().manual_seed(1)
    for value in (parameters.probe, parameters.question_proj, parameters.direction_delta):
        value.data = torch.randn(value.shape, generator=draw)
    parameters.mean_question.copy_(torch.tensor([0.5, -1.0, 0.25]))
    for site in (0, 1):
        usual = torch.zeros(3)
        for rank, axis in itertools.product(range(2), range(3)):
            usual += (
                parameters.direction_delta[site, rank].detach()
                * float(parameters.question_proj[site, rank, axis].detach())
                * float(parameters.mean_question[axis])
            )
        torch.testing.assert_close(parameters.direction(site).detach(), parameters.probe[site].detach() - usual)


@pytest.mark.parametrize("rank", [1, 2, 9])
def test_what_a_question_reads_at_first_is_scaled_by_the_rank(rank):
    parameters = Parameters(SearchConfig(layers=(0, 4), steering_rank=rank, seed=3), TARGET, 6)
    drawn = torch.randn(2, rank, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(parameters.question_proj.detach(), drawn / math.sqrt(rank))
    assert not parameters.direction_delta.any()
