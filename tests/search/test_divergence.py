"""When numbers overflow: a gradient costs a step, a loss a return to the last good state, and only so many of those."""

from collections.abc import Callable

import pytest
import torch

from eos_platform.search import SearchConfig, SearchDiverged, search
from eos_platform.search.objective import losses
from eos_platform.search.run import RESTARTS, Searching
from eos_platform.search.step import CLIP
from eos_platform.tasks import Workload

Parts = dict[str, torch.Tensor]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Change the losses of some steps, counted from 1; returns the list that grows by one a step."""

    def use(change: Callable[[Parts], Parts], when: Callable[[int], bool]) -> list[int]:
        calls: list[int] = []

        def spoiled(*args: object) -> Parts:
            calls.append(1)
            parts = losses(*args)  # type: ignore[arg-type]
            return change(parts) if when(len(calls)) else parts

        monkeypatch.setattr("eos_platform.search.step.losses", spoiled)
        return calls

    return use


def no_number(parts: Parts) -> Parts:
    return {**parts, "task_loss": parts["task_loss"] / 0.0 * 0.0}


def steep(parts: Parts) -> Parts:
    parts["task_loss"].register_hook(lambda gradient: gradient * float("inf"))
    return parts


def test_a_loss_that_stays_no_number_ends_the_search(small: Workload, tiny: SearchConfig, spoil: Callable) -> None:
    calls = spoil(no_number, lambda call: True)
    with pytest.raises(SearchDiverged, match=r"loss became nan at step 3, after 3 restarts .* lower learning_rate"):
        search(small, tiny)
    assert len(calls) == RESTARTS + 1


@pytest.mark.parametrize("rule", ["exact", "penalty"])
def test_a_loss_that_was_no_number_for_a_while_is_survived(
    small: Workload, tiny: SearchConfig, spoil: Callable, rule: str
) -> None:
    calls = spoil(no_number, lambda call: call in (2, 5))
    reported = []
    config = tiny.model_copy(update={"budget_rule": rule})
    result = search(small, config, report=lambda step, curves: reported.append(curves))
    assert len(calls) == config.steps
    assert [curves.get("restarts", 0) for curves in reported[:5]] == [0, 1, 0, 0, 2]
    assert all(torch.tensor(list(curves.values())).isfinite().all() for curves in reported)
    assert "loss" not in reported[1]
    assert "loss" in reported[2]
    assert 0.95 * config.budget <= result.compute_ratio <= config.budget
    assert result.accuracy > 0.5


def test_a_restart_puts_everything_back_and_halves_the_learning_rate(
    small: Workload, tiny: SearchConfig, spoil: Callable
) -> None:
    spoil(no_number, lambda call: call == 3)
    run = Searching(small, tiny, None, None, {})
    before = [value.detach().clone() for value in run.state()]
    for _ in range(2):
        run.step()
    assert not all(torch.equal(*pair) for pair in zip(run.state(), before, strict=True))
    rate = run.rate()
    run.step()
    assert all(torch.equal(*pair) for pair in zip(run.state(), before, strict=True))
    assert run.progress.restarts == 1
    run.progress.step -= 1
    assert run.rate() == pytest.approx(rate / 2)


def test_one_overflowing_gradient_does_not_spoil_the_search(
    small: Workload, tiny: SearchConfig, spoil: Callable
) -> None:
    calls = spoil(steep, lambda call: call == 2)
    reported = []
    result = search(small, tiny, report=lambda step, curves: reported.append(curves))
    assert len(calls) == tiny.steps
    assert not any("restarts" in curves for curves in reported)
    assert result.accuracy > 0.5


@pytest.mark.parametrize("size", [1e-3, 1e3, float("inf"), float("nan")])
def test_long_gradients_are_shortened_and_broken_ones_dropped(small: Workload, tiny: SearchConfig, size: float) -> None:
    stepper = Searching(small, tiny, None, None, {}).stepper
    for value in stepper.parameters.parameters():
        assert value.grad is not None
        value.grad.fill_(1e-3)
    assert stepper.parameters.keep.grad is not None
    stepper.parameters.keep.grad[0] = size
    stepper._clip()
    gradient = torch.cat([value.grad.flatten() for value in stepper.parameters.parameters() if value.grad is not None])
    expected = {1e-3: 1e-3 * len(gradient) ** 0.5, 1e3: CLIP}.get(size, 0.0)
    assert float(gradient.norm()) == pytest.approx(expected, rel=1e-3)
