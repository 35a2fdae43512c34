"""Checkpoints: an interrupted search ends as an uninterrupted one would, and foreign files are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from eos_platform.common.errors import EosError
from eos_platform.search import SearchConfig, search
from eos_platform.search.checkpoint import FILE, Progress, Unusable, load_state, save_state
from eos_platform.search.parameters import Parameters, new_optimiser
from eos_platform.tasks import Workload


class Killed(Exception):
    """The process ended here."""


def read(folder: Path) -> tuple[dict, dict[str, str]]:
    """Tensors and header of the state in ``folder``."""
    with safe_open(folder / FILE, framework="pt") as saved:
        return {key: saved.get_tensor(key) for key in saved.keys()}, saved.metadata()  # noqa: SIM118


def interrupted(small: Workload, config: SearchConfig, folder: Path, stop: int) -> None:
    """Leave the state of step ``stop`` behind, but not that of the next."""

    def kill(step: int, curves: dict[str, float]) -> None:
        if step == stop + 1:
            raise Killed

    with pytest.raises(Killed):
        search(small, config, report=kill, checkpoint=folder)


@pytest.fixture(scope="module")
def uninterrupted(small: Workload, tiny: SearchConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Settings, the result of a search by them, and the folder of its last state."""
    config, folder = tiny.model_copy(update={"straight_through": 0.3}), tmp_path_factory.mktemp("whole")
    return config, search(small, config, checkpoint=folder), folder


# in the soft stage; just before counts are fixed; after the first of the last steps was compared
@pytest.mark.parametrize("stop", [4, 7, 9])
def test_resuming_gives_what_no_interruption_would(
    small: Workload, uninterrupted: tuple, tmp_path: Path, stop: int
) -> None:
    config, whole, folder = uninterrupted
    interrupted(small, config, tmp_path / "cut", stop)
    left = json.loads(read(tmp_path / "cut")[1]["progress"])
    assert left["step"] == stop
    assert (left["fixed"] is None) == (left["best"] is None) == (stop < 8)
    resumed = search(small, config, checkpoint=tmp_path / "cut")
    assert resumed.operator == whole.operator
    assert resumed.accuracy == whole.accuracy
    assert resumed.relaxed_accuracy == whole.relaxed_accuracy
    assert resumed.samples == whole.samples
    assert resumed.history == whole.history
    (one, one_header), (two, two_header) = read(folder), read(tmp_path / "cut")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    one_progress, two_progress = json.loads(one_header["progress"]), json.loads(two_header["progress"])
    assert one_progress.pop("seconds") > 0 < two_progress.pop("seconds")
    assert one_progress == two_progress
    assert one_progress["best"] > 0
    assert 0 < one_progress["candidates"] <= small.target.tokens


def test_a_finished_search_is_only_measured_again(
    small: Workload, tiny: SearchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(small, tiny, checkpoint=tmp_path)
    monkeypatch.setattr("eos_platform.search.step.Stepper.run", None)  # no step is left to do
    again = search(small, tiny, checkpoint=tmp_path)
    assert (again.operator, again.accuracy, again.samples) == (whole.operator, whole.accuracy, whole.samples)


def test_checkpoints_of_other_searches_and_versions_and_damaged_ones_are_refused(
    small: Workload, tiny: SearchConfig, tmp_path: Path
) -> None:
    config = tiny.model_copy(update={"steps": 4})
    search(small, config, checkpoint=tmp_path)
    with pytest.raises(EosError, match="other settings"):
        search(small, tiny, checkpoint=tmp_path)

    tensors, header = read(tmp_path)
    older = {name: value for name, value in header.items() if name != "format"}
    older["config"] = json.dumps({"budget": 0.2, "gate_weight": 1.0})  # a setting there is no longer
    save_file(tensors, tmp_path / FILE, older)
    with pytest.raises(EosError, match="written by another version of the search; use another folder") as refused:
        search(small, config, checkpoint=tmp_path)
    assert "\n" not in str(refused.value)

    del tensors["parameter.keep"]
    save_file(tensors, tmp_path / FILE, header)
    with pytest.raises(EosError, match="not a search checkpoint"):
        search(small, config, checkpoint=tmp_path)
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(EosError, match="not a search checkpoint"):
        search(small, config, checkpoint=tmp_path)
    (tmp_path / FILE).write_bytes(b"nonsense")
    with pytest.raises(Unusable, match="not a search checkpoint"):
        search(small, config, checkpoint=tmp_path)


def progress_of(header: dict[str, str], **changes: object) -> dict[str, str]:
    return {**header, "progress": json.dumps({**json.loads(header["progress"]), **changes})}


PROGRESS = [
    ({"step": -1}, "progress: step: "),
    ({"step": True}, "progress: step: input should be a valid integer"),
    ({"step": "3"}, "progress: step: input should be a valid integer"),
    ({"step": 3.0}, "progress: step: input should be a valid integer"),
    ({"step": 10**9}, "progress: step 1000000000 of a search of 4"),
    ({"samples": -5}, "progress: samples: "),
    ({"multiplier": -1.0}, "progress: multiplier: "),
    ({"multiplier": "1"}, "progress: multiplier: "),
    ({"candidates": 10**6}, "progress: 1000000 candidates among 144 tokens"),
    ({"restarts": None}, "progress: restarts: "),
    ({"fixed": [999, 5]}, r"progress: fixed counts \[999, 5\] do not fit 2 sites that 144 tokens arrive at"),
    ({"fixed": [5, 50]}, "do not fit 2 sites"),
    ({"fixed": [5]}, "do not fit 2 sites"),
    ({"fixed": [-1, -1]}, "progress: fixed.0: "),
    ({"fixed": "55"}, "progress: fixed: "),
    ({"fixed": None, "best": 0.5}, "a best loss, but no fixed counts"),
    ({"seconds": -1}, "progress: seconds: "),
    ({"history": [{"loss": "low"}]}, "progress: history.0.loss: "),
    ({"history": {}}, "progress: history: "),
    ({"more": 1}, "progress: its keys are not best, "),
]
TENSORS = {
    "a name too few": lambda held: {name: held[name] for name in held if name != "adam.exp_avg.keep"},
    "a name too many": lambda held: {**held, "parameter.else": torch.zeros(2)},
    "one number for many": lambda held: {**held, "parameter.keep": torch.zeros(1)},
    "no dimension": lambda held: {**held, "parameter.keep": torch.tensor(2.0)},
    "another type": lambda held: {**held, "parameter.keep": held["parameter.keep"].double()},
    "whole numbers": lambda held: {**held, "mask": held["mask"].int()},
    "NaN": lambda held: {**held, "parameter.weights": held["parameter.weights"] * torch.nan},
    "infinite moments": lambda held: {**held, "adam.exp_avg.probe": held["adam.exp_avg.probe"] + torch.inf},
    "squares below zero": lambda held: {**held, "adam.exp_avg_sq.keep": held["adam.exp_avg_sq.keep"] - 1},
    "steps below zero": lambda held: {**held, "adam.step.keep": torch.tensor(-3.0)},
    "half a mask": lambda held: {**held, "mask": held["mask"] * 0.5},
    "no best": lambda held: {name: held[name] for name in held if not name.startswith("best.")},
    "a best of another shape": lambda held: {**held, "best.keep": torch.zeros(7)},
}


def test_states_that_no_search_can_be_in_are_refused_and_change_nothing(
    small: Workload, tiny: SearchConfig, tmp_path: Path
) -> None:
    config = tiny.model_copy(update={"steps": 4, "straight_through": 0.5})
    search(small, config, checkpoint=tmp_path)
    tensors, header = read(tmp_path)
    assert json.loads(header["progress"])["best"] is not None
    parameters = Parameters(config, small.target, small.shape.hidden)
    optimiser = new_optimiser(parameters, config)
    before = {name: value.clone() for name, value in parameters.state_dict().items()}
    subject = header["workload"]

    def refused(says: str) -> None:
        with pytest.raises(Unusable, match=f"not a search checkpoint: .*{says}") as caught:
            load_state(tmp_path, config, subject, parameters, optimiser)
        assert "\n" not in str(caught.value)
        assert all(torch.equal(value, before[name]) for name, value in parameters.state_dict().items())
        assert parameters.fixed is None

    for change, says in PROGRESS:
        save_file(tensors, tmp_path / FILE, progress_of(header, **change))
        refused(says)
    for text in ('{"step": 1, "step": 2}', '{"multiplier": NaN}', "[]", "null", '{"best": 1e999}', "{}"):
        save_file(tensors, tmp_path / FILE, {**header, "progress": text})
        refused("progress")
    for change in TENSORS.values():
        held = {name: value.clone() for name, value in change(tensors).items()}
        save_file(held, tmp_path / FILE, header)
        refused("'|it ")
    for settings in ("{}x", '{"steps": "4"}', '{"steps": 4, "steps": 4}', "3"):
        save_file(tensors, tmp_path / FILE, {**header, "config": settings})
        refused("config")
    save_file(tensors, tmp_path / FILE, header)
    found = load_state(tmp_path, config, subject, parameters, optimiser)
    assert found is not None
    assert found[0].step == 4
    assert parameters.fixed == found[0].fixed


def test_a_state_that_is_no_number_is_not_written(small: Workload, tiny: SearchConfig, tmp_path: Path) -> None:
    parameters = Parameters(tiny, small.target, small.shape.hidden)
    optimiser = new_optimiser(parameters, tiny)
    with pytest.raises(EosError, match=r"history\.0\.loss is not a finite number"):
        save_state(tmp_path, tiny, "a", parameters, optimiser, Progress(history=[{"loss": float("nan")}]), {})
    assert not (tmp_path / FILE).exists()
