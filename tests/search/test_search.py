"""The inner search on the real small model: budgets hit, deployed as searched, resumable, honest errors."""

from pathlib import Path

import pytest
import torch

from eos_platform.errors import EosError
from eos_platform.models.compute import compute_ratio
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig, SearchDiverged, search
from eos_platform.search.checkpoint import FILE
from eos_platform.search.discretise import to_operator, whole_counts
from eos_platform.search.objective import losses
from eos_platform.search.parameters import Parameters
from eos_platform.search.start import start_at_budget
from eos_platform.tasks import Workload, evaluate

TINY = SearchConfig(budget=0.3, steps=10, batch_size=8, search_questions=64, eval_questions=96)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_finds_an_operator_within_the_budget_that_answers(small: Workload, tmp_path: Path) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    config = TINY.model_copy(update={"steps": 24, "eval_every": 12})
    result = search(small, config, report=lambda step, curves: told.append((step, curves)))
    assert 0.95 * config.budget <= result.compute_ratio <= config.budget
    assert result.compute_ratio == compute_ratio(result.operator, small.shape, small.text_tokens)
    assert result.samples == 24 * 8
    assert result.accuracy == evaluate(small, result.operator, "validation", 96).accuracy
    assert result.accuracy > 0.7  # random pruning at this ratio has about .72, the full model .95
    assert abs(result.relaxed_accuracy - result.accuracy) <= 0.02
    assert OperatorSpec.load(result.operator.save(tmp_path / "operator.json")) == result.operator
    assert result.operator.provenance["search"] == config.model_dump(mode="json")
    assert [step for step, _ in told] == list(range(1, 25))
    assert {"loss", "task_loss", "distill_loss", "align_loss", "soft_compute_ratio", "multiplier"} <= set(told[0][1])
    measured = [step for step, curves in told if "accuracy" in curves]
    assert measured == [12, 24]
    assert all(curves["compute_ratio"] <= config.budget for _, curves in told if "compute_ratio" in curves)
    temperatures = [curves["temperature"] for _, curves in told]
    assert temperatures == sorted(temperatures, reverse=True)
    assert temperatures[-1] == pytest.approx(config.temperature_end)


@pytest.mark.parametrize("stop", [4, 9])
def test_resuming_gives_what_no_interruption_would(small: Workload, tmp_path: Path, stop: int) -> None:
    class Killed(Exception):
        pass

    def kill(step: int, curves: dict[str, float]) -> None:
        if step == stop + 1:  # the state of step `stop` is on disk, that of `stop + 1` is not
            raise Killed

    whole = search(small, TINY)
    with pytest.raises(Killed):
        search(small, TINY, report=kill, checkpoint=tmp_path)
    resumed = search(small, TINY, checkpoint=tmp_path)
    assert resumed.operator == whole.operator
    assert resumed.accuracy == whole.accuracy
    assert resumed.samples == whole.samples
    assert resumed.history == whole.history
    finished = search(small, TINY, checkpoint=tmp_path)  # nothing is left to do
    assert finished.operator == whole.operator


def test_the_same_seed_gives_the_same_operator_and_another_another(small: Workload) -> None:
    short = TINY.model_copy(update={"steps": 5})
    one, two = search(small, short), search(small, short)
    other = search(small, short.model_copy(update={"seed": 1}))
    assert one.operator == two.operator
    assert other.operator.sites != one.operator.sites


@pytest.mark.parametrize(
    "settings", [{"positions": "renumber"}, {"support": "window"}, {"support": "nearest"}, {"layers": (0, 3)}]
)
def test_settings_reach_the_operator(small: Workload, settings: dict) -> None:
    result = search(small, TINY.model_copy(update={"steps": 4, **settings}))
    assert result.compute_ratio <= TINY.budget
    for site in result.operator.sites:
        assert site.positions == settings.get("positions", "keep")
        assert site.transfer.support.kind == settings.get("support", SearchConfig().support)
        assert site.layer in settings.get("layers", range(6))


@pytest.mark.parametrize("budget", [0.08, 0.15, 0.35, 0.6, 0.95])
def test_whole_counts_use_the_budget_up(small: Workload, budget: float) -> None:
    config = SearchConfig(budget=budget)
    parameters = Parameters(config, small.target)
    torch.manual_seed(3)
    for value in parameters.parameters():
        value.data.add_(0.5 * torch.randn_like(value))
    start_at_budget(parameters, small, config)
    counts = whole_counts(parameters, config, small.target, small.shape, small.text_tokens)
    assert list(counts) == sorted(counts, reverse=True)
    ratio = compute_ratio(to_operator(parameters, counts, small.target, "x"), small.shape, small.text_tokens)
    assert 0.93 * budget <= ratio <= budget


def test_gates_shut_sites(small: Workload) -> None:
    config = SearchConfig(budget=0.4)
    parameters = Parameters(config, small.target)
    parameters.gate.data[1:4] = -1.0
    counts = whole_counts(parameters, config, small.target, small.shape, small.text_tokens)
    assert counts[0] == counts[1] == counts[2] == counts[3]
    assert counts[4] < counts[3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.01}, r"budget 0.01 is impossible: .* already takes 0\.\d+"),
        ({"layers": (0, 6)}, r"layers: site 6 is beyond the last decoder layer \(5\) of 'bundled-small'"),
        ({"layers": (2, 1)}, "ascending order"),
        ({"budget": 0.15, "layers": (3,)}, "budget 0.15 is impossible"),
    ],
)
def test_what_cannot_be_searched_is_refused_first(
    small: Workload, tmp_path: Path, settings: dict, message: str
) -> None:
    with pytest.raises(EosError, match=message):
        search(small, TINY.model_copy(update=settings), checkpoint=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_checkpoints_of_other_searches_and_damaged_ones_are_refused(small: Workload, tmp_path: Path) -> None:
    search(small, TINY.model_copy(update={"steps": 4}), checkpoint=tmp_path)
    with pytest.raises(EosError, match="other settings"):
        search(small, TINY, checkpoint=tmp_path)
    (tmp_path / FILE).write_bytes(b"nonsense")
    with pytest.raises(EosError, match="not a search checkpoint"):
        search(small, TINY, checkpoint=tmp_path)


def test_divergence_is_noticed(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(*args: object) -> dict[str, torch.Tensor]:
        parts = losses(*args)  # type: ignore[arg-type]
        return {**parts, "task_loss": parts["task_loss"] / 0.0 * 0.0}

    monkeypatch.setattr("eos_platform.search.run.losses", spoiled)
    with pytest.raises(SearchDiverged, match="loss became nan at step 0; lower the learning rate"):
        search(small, TINY)


def test_one_overflowing_gradient_does_not_spoil_the_search(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def overflowing(*args: object) -> dict[str, torch.Tensor]:
        parts = losses(*args)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 2:
            value = parts["task_loss"]
            value.register_hook(lambda gradient: gradient * float("inf"))
        return parts

    monkeypatch.setattr("eos_platform.search.run.losses", overflowing)
    result = search(small, TINY)
    assert len(calls) >= TINY.steps
    assert result.accuracy > 0.5


def test_settings_are_validated() -> None:
    with pytest.raises(EosError, match=r"search: unknown key 'learning_rat'; did you mean 'learning_rate'"):
        SearchConfig.of({"learning_rat": 1})
    with pytest.raises(EosError, match=r"search: budget: input should be greater than 0 \(got 0\)"):
        SearchConfig.of({"budget": 0})
    with pytest.raises(EosError, match="temperature_end must not be above"):
        SearchConfig.of({"temperature_end": 2.0})
