"""How a search is made to fit, and whether what it says beforehand is what happens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from eos_platform.analysis.experiments.step_profile import undertaken
from eos_platform.common.errors import EosError
from eos_platform.common.sizes import parse_bytes, shown_bytes, shown_seconds
from eos_platform.costs.shapes import shape_of
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.search import SearchConfig
from eos_platform.search.run import estimate
from eos_platform.search.scale import fitting
from eos_platform.search.scale.pace import Clock, Pace, competing
from eos_platform.search.scale.rehearse import Line, Rehearsal, layer_bytes, peaks
from eos_platform.search.scale.resources import Resources
from eos_platform.search.step import Stepper
from eos_platform.tasks import Workload, load_workload

CONFIG = SearchConfig(budget=0.15, steps=8, batch_size=12, search_questions=32, eval_questions=16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small() -> Workload:
    return load_workload("bundled-small", device="cpu")


@pytest.fixture
def rehearsal(small: Workload) -> Rehearsal:
    from eos_platform.search.parameters import Parameters

    encoded = small.encoded("search", CONFIG.search_questions)
    parameters = Parameters(CONFIG, small.target, small.shape.hidden, small.features)
    return Rehearsal(Stepper(small, CONFIG, parameters, encoded), 96, 0.3, 0.3)


@pytest.mark.parametrize(
    ("text", "size"),
    [("22GB", 22 * 10**9), ("4GiB", 4 * 2**30), ("1.5 MB", 1_500_000), ("500KB", 500_000), ("12345", 12345)],
)
def test_memory_as_people_write_it(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "22", "GB", "-1GB", "22gb", "1e9", "0", "0GB", "22 G", "nan", "9" * 30])
def test_what_is_no_memory(text: str) -> None:
    if text == "22":
        assert parse_bytes(text) == 22
        return
    with pytest.raises(EosError, match="--memory: a number of bytes, or such as 22GB"):
        parse_bytes(text, "--memory")


def test_amounts_are_shown_short() -> None:
    assert [shown_bytes(one) for one in (12, 1500, 2.5e6, 22e9)] == ["12 B", "1.5 kB", "2.5 MB", "22.0 GB"]
    assert [shown_seconds(one) for one in (0.0481, 3.21, 12.34, 312, 7300)] == [
        "0.048 s",
        "3.2 s",
        "12.3 s",
        "5 min 12 s",
        "2 h 1 min",
    ]


@pytest.mark.parametrize("family", ["LLaVA-1.5", "Qwen2.5-VL", "Qwen3-VL", "SmolVLM"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_layer_keeps_is_as_counted(family: str, dtype: torch.dtype) -> None:
    """From the sizes alone, against the tensors that autograd keeps of two layers more."""
    model = fresh(SAMPLES[family]).to(dtype).eval().requires_grad_(False)
    adapter = adapter_of(model)
    prefill = adapter.encode(prompts(SAMPLES[family], [[SAMPLES[family].sizes[0]]] * 4, (40,)))
    kept = []
    layers = adapter.parts.language_model.layers
    for number in (2, 4):
        adapter.parts.language_model.layers = nn.ModuleList(list(layers)[:number])
        held: dict[int, int] = {}
        weights = {one.untyped_storage().data_ptr() for one in model.parameters()}

        def pack(value: torch.Tensor, held: dict[int, int] = held, weights: set[int] = weights) -> torch.Tensor:
            storage = value.untyped_storage()
            if storage.data_ptr() not in weights:
                held[storage.data_ptr()] = storage.nbytes()
            return value

        x_bsd = prefill.x_bsd.detach().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            hidden = adapter.parts.language_model(**{**prefill.call(), "inputs_embeds": x_bsd}, use_cache=False)
        kept.append(sum(held.values()))
        del hidden
    adapter.parts.language_model.layers = layers
    tokens = prefill.x_bsd.shape[0] * prefill.x_bsd.shape[1]
    counted = (kept[1] - kept[0]) / 2 / tokens
    assert layer_bytes(shape_of(model), torch.finfo(dtype).bits // 8) == pytest.approx(counted, rel=0.35)


def test_memory_is_a_straight_line_in_the_questions_at_once(rehearsal: Rehearsal) -> None:
    for again in (False, True):
        (line,) = rehearsal.lines(again)
        (counted,) = peaks(lambda again=again: rehearsal.gradient(8, again), rehearsal.model)
        assert line.bytes(8) == pytest.approx(counted, rel=0.1)
    assert Line.through((1, 130.0), (3, 190.0)) == Line(100.0, 30.0)
    assert Line(100.0, 30.0).questions(250.0) == 5
    assert Line(100.0, 30.0).questions(50.0) == 0


def test_layers_that_run_twice_take_less(rehearsal: Rehearsal) -> None:
    (plain,), (again,) = rehearsal.lines(False), rehearsal.lines(True)
    assert again.each < 0.75 * plain.each


def test_a_rehearsal_leaves_a_stepper_as_it_was(rehearsal: Rehearsal) -> None:
    stepper = rehearsal.stepper
    before = [value.detach().clone() for value in stepper.parameters.parameters()]
    held = stepper.index_b, stepper.at_once, stepper.checkpointing, stepper.captures
    rehearsal.gradient(2, True)
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.parameters.parameters(), strict=True))
    assert (stepper.index_b, stepper.at_once, stepper.checkpointing, stepper.captures) == held


@pytest.mark.parametrize("share", [0.6, 0.1])
def test_parts_are_as_large_as_fits(
    small: Workload, rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    whole = rehearsal.lines(False)[0].bytes(12)
    monkeypatch.setattr(fitting, "room", lambda device, limit: int(share * whole))
    found = estimate(small, CONFIG)
    assert found is not None
    assert found.at_once * found.parts >= 12
    assert found.parts > 1
    assert found.memory - found.weights <= share * whole
    if share == 0.1:
        assert found.checkpointing


def test_a_batch_that_fits_is_left_whole(small: Workload) -> None:
    found = estimate(small, CONFIG, Resources(memory=10**13))
    assert found is not None
    assert (found.at_once, found.parts, found.checkpointing) == (12, 1, False)
    first, second = found.lines()
    assert first.startswith("estimate: ")
    assert second == "batches: 12 questions at once, no activation checkpointing"


def test_what_fits_easily_is_not_rehearsed_unless_somebody_asks(
    small: Workload, rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper = rehearsal.stepper
    roughly = fitting._roughly(stepper, len(stepper.index_b))
    monkeypatch.setattr(fitting, "Rehearsal", Rehearsed)
    for times, rehearsed in ((3.9, True), (4.1, False)):  # of a quarter of the room
        monkeypatch.setattr(fitting, "room", lambda device, limit, room=times * roughly: int(room))
        if rehearsed:
            with pytest.raises(Rehearsed):
                fitting._settle(stepper, Asked(), Asked(), Resources(), None)
        else:
            assert fitting._settle(stepper, Asked(), Asked(), Resources(), None) is None


class Rehearsed(Exception):
    """Instead of a rehearsal."""

    def __init__(self, *given: Any) -> None:
        super().__init__()
        raise self


class Asked:
    """A schedule, and what has candidates."""

    def budget(self, step: int) -> float:
        return 0.2

    temperature = candidates = budget


def test_choices_of_the_user_are_kept(small: Workload) -> None:
    found = estimate(small, CONFIG, Resources(at_once=5, checkpointing=True))
    assert found is not None
    assert (found.at_once, found.parts, found.checkpointing) == (4, 3, True)


def test_no_room_at_all_is_one_line(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "room", lambda device, limit: 1000)
    with pytest.raises(
        EosError, match=r"out of memory: 1\.0 kB are left beside the model, a step takes .* one question"
    ):
        estimate(small, CONFIG)


def test_a_question_too_many_in_the_rehearsal(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Rehearsal, "gradient", full)
    with pytest.raises(EosError, match="out of memory: 0 B are left beside the model; weights"):
        estimate(small, CONFIG)


def test_the_estimate_is_corrected_once() -> None:
    lines = list[str]()
    clock = Clock([1.0] * 100, lines.append)
    for step in range(1, 30):
        clock.tick(10.0 + 2.0 * step, step)
    assert lines == ["corrected: 2 s per step as measured, 3 min 6 s of steps left"]
    clock = Clock([4.0] * 50 + [1.0] * 50, lines.append)  # later steps are said to take a fourth
    for step in range(1, 30):
        clock.tick(10.0 + 2.0 * step, step)
    assert lines[1:] == ["corrected: 2 s per step as measured, 1 min 51 s of steps left"]


def test_steps_get_faster_as_fewer_tokens_compete(small: Workload) -> None:
    pace = Pace((100, 3.0), (50, 2.0))
    assert pace.seconds(75) == 2.5
    assert pace.mean([100, 50, 50]) == pytest.approx(7 / 3)
    assert Pace((50, 2.0), (50, 2.0)).seconds(80) == 2.0
    config = SearchConfig(budget=0.2, steps=100, batch_size=4, search_questions=16)
    _, deployed, schedule = undertaken(small, config)
    found = competing(deployed, schedule, config)
    assert len(found) == 100
    assert found[0] == found[19] > found[40] >= found[79]  # looked at every 20 steps, and budgets fall for 40
    assert found[60] == found[99]
    told = estimate(small, config)
    assert told is not None
    assert told.steps[0] > told.steps[-1]
    assert sum(told.steps) == pytest.approx(100 * told.step_seconds)
    assert " for the first step, " in told.lines()[0]
