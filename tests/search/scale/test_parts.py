"""A batch in parts, with layers run twice, and after memory ran out: the same step as that of the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.search import SearchConfig, search
from eos_platform.search.deployed import Deployed
from eos_platform.search.objective import teacher_states
from eos_platform.search.parameters import Parameters
from eos_platform.search.run import Searching
from eos_platform.search.scale.resources import Resources
from eos_platform.search.step import Stepper
from eos_platform.tasks import Workload, load_workload
from eos_platform.tasks.together import in_portions

CONFIG = SearchConfig(budget=0.15, steps=10, batch_size=6, search_questions=32, eval_questions=16, straight_through=0.4)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small() -> Workload:
    return load_workload("bundled-small", device="cpu")


def stepper(small: Workload, **settings: Any) -> Stepper:
    config = CONFIG.model_copy(update=settings)
    torch.manual_seed(0)
    parameters = Parameters(config, small.target, small.shape.hidden, small.features)
    encoded = small.encoded("search", config.search_questions)
    parameters.mean_question.copy_(encoded.mean_question())
    with torch.no_grad():
        parameters.probe.normal_(std=0.1)
    made = Stepper(small, config, parameters, encoded)
    made.teacher_qad = teacher_states(small.model, encoded)
    return made


def after(made: Stepper, steps: int = 2, hard: bool = False) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Curves of the last of some steps, and the parameters behind it."""
    if hard:
        made.parameters.fixed = (20, 12)
    for step in range(steps):
        index_b = torch.arange(step, step + 6)
        curves = made.run(index_b, budget=0.15, temperature=0.2, multiplier=1.0, rate=0.05, candidates=96)
    return curves, {name: value.detach().clone() for name, value in made.parameters.named_parameters()}


def check_same(one: tuple[Any, Any], two: tuple[Any, Any]) -> None:
    assert two[0] == pytest.approx(one[0], rel=2e-4, abs=1e-6)
    for name, value in one[1].items():
        # Adam's first steps have the length of the rate, whatever that of the gradient: rounding shows where it is 0
        assert torch.allclose(two[1][name], value, atol=2e-3), name


@pytest.fixture(scope="module", params=[False, True], ids=["soft", "hard"])
def in_one(request: pytest.FixtureRequest, small: Workload) -> tuple[bool, Stepper, tuple[Any, Any]]:
    """Whether counts are fixed, a stepper of whole batches, and what it gives."""
    whole = stepper(small)
    return request.param, whole, after(whole, hard=request.param)


@pytest.mark.parametrize(("at_once", "checkpointing"), [(2, False), (4, True), (6, True), (1, False)])
def test_parts_and_layers_run_twice_change_nothing(
    small: Workload, in_one: tuple[bool, Stepper, tuple[Any, Any]], at_once: int, checkpointing: bool
) -> None:
    (hard, whole, gave), parts = in_one, stepper(small)
    parts.at_once, parts.checkpointing = at_once, checkpointing
    check_same(gave, after(parts, hard=hard))
    gradients = [value.grad for value in whole.parameters.parameters()]
    assert any(bool(value.any()) for value in gradients if value is not None)
    for value, other in zip(whole.parameters.parameters(), parts.parameters.parameters(), strict=True):
        assert torch.allclose(value.grad, other.grad, atol=1e-5 + 1e-3 * float(value.grad.abs().max()))


@pytest.mark.parametrize("rule", ["penalty", "two-sided"])
def test_what_the_budget_adds_is_added_once(small: Workload, rule: str) -> None:
    whole, parts = stepper(small, budget_rule=rule), stepper(small, budget_rule=rule)
    parts.at_once = 2
    check_same(after(whole), after(parts))


def test_no_layer_is_left_changed_and_layers_before_the_first_site_keep_nothing(small: Workload) -> None:
    layers = small.adapter.parts.layers
    made = stepper(small, layers=(3,))
    made.checkpointing = True
    seen: list[bool] = []
    hooks = [
        layer.register_forward_hook(lambda module, args, output: seen.append(_state(output).requires_grad))
        for layer in layers
    ]
    made.parameters.fixed = None
    made.run(torch.arange(6), budget=0.5, temperature=0.2, multiplier=0.0, rate=0.05, candidates=144)
    for hook in hooks:
        hook.remove()
    assert seen[: len(layers)] == [False] * 3 + [True] * (len(layers) - 3)
    assert not any("forward" in vars(layer) for layer in layers)


def _state(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


class Full:
    """A hook that memory runs out in, where more than so many prompts come at once."""

    def __init__(self, most: int) -> None:
        self.most, self.raised = most, 0

    def __call__(self, module: Any, args: Any, kwargs: Any = None) -> None:
        state = args[0] if args else kwargs["hidden_states"]
        if len(state) > self.most and torch.is_grad_enabled() and state.requires_grad:
            self.raised += 1
            raise torch.OutOfMemoryError("CUDA out of memory. (simulated)")


def test_a_step_that_runs_out_of_memory_is_done_again_in_halves(small: Workload) -> None:
    whole, parts = stepper(small), stepper(small)
    expected, lines = after(whole), list[str]()
    parts.tell = lines.append
    full = Full(2)
    hook = small.adapter.parts.layers[4].register_forward_pre_hook(full, with_kwargs=True)
    try:
        check_same(expected, after(parts))
    finally:
        hook.remove()
    assert (full.raised, parts.at_once, parts.checkpointing) == (2, 2, False)
    assert lines == [
        "out of memory with 6 questions at once; the step is done again with 3",
        "out of memory with 3 questions at once; the step is done again with 2",
    ]


@pytest.mark.slow  # two whole searches; a single step is tested above
def test_a_search_that_runs_out_of_memory_loses_nothing(small: Workload, tmp_path: Path) -> None:
    expected, lines = search(small, CONFIG), list[str]()
    hook = small.adapter.parts.layers[4].register_forward_pre_hook(Full(3), with_kwargs=True)
    try:
        found = search(small, CONFIG, tell=lines.append, resources=Resources(at_once=3))
        again = search(small, CONFIG)
    finally:
        hook.remove()
    assert found.operator.counts == again.operator.counts == expected.operator.counts
    assert found.history[-1]["loss"] == pytest.approx(expected.history[-1]["loss"], rel=0.05, abs=5e-3)
    assert again.samples == expected.samples
    assert any(line.startswith("estimate: ") for line in lines)


@pytest.mark.slow  # a search that fails again and again
def test_not_even_one_question_is_one_line(small: Workload) -> None:
    hook = small.adapter.parts.layers[4].register_forward_pre_hook(Full(0), with_kwargs=True)
    made = stepper(small)
    lines = list[str]()
    made.tell = lines.append
    before = [value.detach().clone() for value in made.parameters.parameters()]
    try:
        with pytest.raises(EosError, match="with one question at a time and activation checkpointing"):
            after(made)
    finally:
        hook.remove()
    assert lines[-1] == "out of memory with one question at once; the step is done again with activation checkpointing"
    assert all(torch.equal(one, two) for one, two in zip(before, made.parameters.parameters(), strict=True))


def test_questions_asked_without_gradient_are_halved_too() -> None:
    tried, lines = list[int](), list[str]()

    def work(index_b: torch.Tensor) -> int:
        tried.append(len(index_b))
        if len(index_b) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return int(index_b.sum())

    portions = list(torch.arange(20).split(8))
    found = list(in_portions(portions, work, lines.append))
    assert torch.cat([index_b for index_b, _ in found]).tolist() == list(range(20))
    assert [total for _, total in found] == [int(index_b.sum()) for index_b, _ in found]
    assert tried[:3] == [8, 4, 2]
    assert max(tried[2:]) == 2
    assert len(lines) == 2


def test_trials_of_a_search_have_the_teacher_of_its_steps(small: Workload) -> None:
    made = Searching(small, CONFIG.model_copy(update={"steps": 4}), None, None, {}, resources=Resources())
    made.run()
    assert made.deployed.teacher_qad is made.stepper.teacher_qad is made.encoded.teacher_qad
    assert isinstance(made.deployed, Deployed)
