"""Two processes at one search: the operator of one, for the same global batch, up to rounding."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.search import SearchConfig, search
from eos_platform.search.checkpoint import FILE
from eos_platform.search.scale.processes import check_processes, search_together
from eos_platform.search.scale.resources import Resources
from eos_platform.search.step import Stepper
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.together import Group

CONFIG = SearchConfig(budget=0.15, steps=6, batch_size=5, search_questions=24, eval_questions=10, straight_through=0.34)
LOAD = partial(load_workload, "bundled-small")


def broken(device: str) -> Subject:
    """What another process fails with."""
    raise EosError(f"no model on {device} today")


def test_shares_of_a_batch() -> None:
    values = torch.arange(5)
    parts = [SimpleNamespace(group=Group(rank, 2), index_b=values) for rank in range(2)]
    assert [Stepper.mine_b.fget(part).tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    assert [list(Group(rank, 3).share("abcdefg")) for rank in range(3)] == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    assert Stepper.mine_b.fget(SimpleNamespace(group=Group(1, 2), index_b=values[:1])).numel() == 0
    assert Group().sum_(values) is values
    assert Group().of_first("x") == "x"


@pytest.mark.slow  # another process imports everything, and both search
def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    workload = LOAD(device="cpu")
    one = search(workload, CONFIG)
    lines, reported = list[str](), list[int]()
    workload = LOAD(device="cpu")
    two = search_together(
        LOAD,
        workload,
        CONFIG,
        Resources(processes=2),
        report=lambda step, curves: reported.append(step),
        checkpoint=tmp_path,
        tell=lines.append,
    )
    assert two.operator.counts == one.operator.counts
    assert two.samples == one.samples
    assert reported == [1, 2, 3, 4, 5, 6]
    assert two.accuracy == pytest.approx(one.accuracy, abs=0.11)
    for name, value in one.parameters.items():
        assert torch.allclose(two.parameters[name], value, atol=0.03 * (1 + float(value.abs().max()))), name
    first, other = one.history[0], two.history[0]
    assert {name: other[name] for name in first} == pytest.approx(first, rel=1e-3, abs=1e-5)
    assert (tmp_path / FILE).is_file()
    assert lines[0].startswith("estimate: ")
    assert not torch.distributed.is_initialized()


def test_what_another_process_fails_with_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = LOAD(device="cpu")
    monkeypatch.setattr("eos_platform.search.scale.processes.WAIT", __import__("datetime").timedelta(seconds=60))
    with pytest.raises(EosError, match="another process of the search failed: no model on cpu today"):
        search_together(_broken_load(), workload, CONFIG, Resources(processes=2))


def _broken_load() -> Any:
    return broken


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(EosError, match="gpus: 2 are wanted for one search, and 1 is here"):
        check_processes(2, torch.device("cuda:0"))
