"""Checkpoints: an interrupted search ends as an uninterrupted one would, and foreign files are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from eos_platform.errors import EosError
from eos_platform.search import SearchConfig, search
from eos_platform.search.checkpoint import FILE, Unusable
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


# in the soft stage; just before counts are fixed; after the first of the last steps was compared
@pytest.mark.parametrize("stop", [4, 7, 9])
def test_resuming_gives_what_no_interruption_would(
    small: Workload, tiny: SearchConfig, tmp_path: Path, stop: int
) -> None:
    config = tiny.model_copy(update={"straight_through": 0.3})
    whole = search(small, config, checkpoint=tmp_path / "whole")
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
    (one, one_header), (two, two_header) = read(tmp_path / "whole"), read(tmp_path / "cut")
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
