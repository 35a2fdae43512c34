"""The inner search on the real small model: it finds an operator that answers, as deployed, and says how it went."""

from pathlib import Path

import pytest

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import Workload, evaluate


@pytest.fixture
def reports() -> list[tuple[int, dict[str, float]]]:
    return []


def test_finds_an_operator_within_the_budget_that_answers(small: Workload, tmp_path: Path, reports: list) -> None:
    config = SearchConfig(budget=0.25, steps=12, batch_size=16, search_questions=96, eval_questions=96, eval_every=6)
    result = search(small, config, report=lambda step, curves: reports.append((step, curves)))
    assert 0.95 * config.budget <= result.compute_ratio <= config.budget
    assert result.compute_ratio == compute_ratio(result.operator, small.shape, small.text_tokens)
    assert result.samples >= 12 * 16
    assert result.accuracy == evaluate(small, result.operator, "validation", 96).accuracy
    assert result.accuracy > 0.87  # random pruning at this ratio has about .70, the full model .95
    assert abs(result.relaxed_accuracy - result.accuracy) <= 0.02
    assert OperatorSpec.load(result.operator.save(tmp_path / "operator.json")) == result.operator
    assert result.operator.provenance["search"] == config.fields()
    first = result.operator.sites[0]
    assert (first.layer, first.selector, len(first.probe)) == (0, "diverse_topk", small.shape.hidden)
    assert [step for step, _ in reports] == list(range(1, 13))
    assert {"loss", "task_loss", "distill_loss", "align_loss", "soft_compute_ratio", "multiplier"} <= set(reports[0][1])
    measured = [step for step, curves in reports if "accuracy" in curves]
    assert measured == [6, 12]
    assert all(curves["compute_ratio"] <= config.budget for _, curves in reports if "compute_ratio" in curves)
    temperatures = [curves["temperature"] for _, curves in reports]
    assert temperatures == sorted(temperatures, reverse=True)
    assert temperatures[0] < config.temperature_start
    assert temperatures[-1] == pytest.approx(config.temperature_end)


def test_the_same_seed_gives_the_same_operator_and_another_another(small: Workload, tiny: SearchConfig) -> None:
    short = tiny.model_copy(update={"steps": 5})
    one, two = search(small, short), search(small, short)
    other = search(small, short.model_copy(update={"seed": 1}))
    assert one.operator == two.operator
    assert other.operator.sites != one.operator.sites


@pytest.mark.parametrize(
    "settings",
    [
        {"positions": "renumber", "support": "window"},
        {"support": "nearest", "steering_rank": 2},
        {"layers": (0, 3), "size_bias": False},
        {"layers": (1,), "budget": 0.4},
        {"selector": "score", "steering_rank": 0},
        {"probe": False},
        {"probe": False, "selector": "score", "layers": (0,)},
        {"budget_rule": "penalty", "cost_weight": 0.1},
        {"budget_rule": "two-sided"},
    ],
)
def test_settings_reach_the_operator(small: Workload, tiny: SearchConfig, settings: dict) -> None:
    config = tiny.model_copy(update={"steps": 4, **settings})
    result = search(small, config)
    assert result.compute_ratio <= config.budget
    assert result.operator.sites
    for site in result.operator.sites:
        assert site.positions == config.positions
        assert site.transfer.support.kind == config.support
        assert site.layer in (config.layers or (0, 4))
        assert bool(site.probe) == config.probe
        assert (site.beta > 0) == config.size_bias
        assert (site.steering.rank if site.steering else 0) == (config.steering_rank if config.probe else 0)
        first = site.layer == (config.layers or (0,))[0]
        assert site.selector == (config.selector if first else "score")
        assert (site.spread > 0) == (site.selector == "diverse_topk")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.01}, r"budget 0.01 is impossible: .* already takes 0\.\d+"),
        ({"layers": (0, 6)}, r"layers: site 6 is beyond the last decoder layer \(5\) of 'bundled-small'"),
        ({"layers": (7,)}, "layers: site 7 is beyond"),
        ({"layers": (2, 1)}, "ascending order"),
        ({"layers": (2, 2)}, "must be different"),
        ({"layers": ()}, "at least one"),
        ({"budget": 0.15, "layers": (3,)}, "budget 0.15 is impossible"),
    ],
)
def test_what_cannot_be_searched_is_refused_first(
    small: Workload, tiny: SearchConfig, tmp_path: Path, settings: dict, message: str
) -> None:
    with pytest.raises(EosError, match=message):
        search(small, tiny.model_copy(update=settings), checkpoint=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_settings_are_validated() -> None:
    with pytest.raises(EosError, match=r"search: unknown key 'learning_rat'; did you mean 'learning_rate'"):
        SearchConfig.of({"learning_rat": 1})
    with pytest.raises(EosError, match=r"search: budget: input should be greater than 0 \(got 0\)"):
        SearchConfig.of({"budget": 0})
    with pytest.raises(EosError, match="temperature_end must not be above"):
        SearchConfig.of({"temperature_end": 2.0})
    with pytest.raises(EosError, match="search: budget_rule: unknown value 'hard'; known: exact, penalty, two-sided"):
        SearchConfig.of({"budget_rule": "hard"})
    with pytest.raises(EosError, match="search: selector: unknown value 'grid'; known: diverse_topk, score"):
        SearchConfig.of({"selector": "grid"})
