"""Energy by NVML's counter: what is read, and what is said where there is none."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.device import energy


class NVMLError(Exception):
    pass


@pytest.fixture
def gpu(monkeypatch):
    """A stand-in for NVML whose counter moves by 2.5 J a run: there is no GPU here."""
    taken = {"mJ": 1000.0}
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: taken["mJ"],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(energy, "LONG", 0.01)
    return nvml, taken


def test_energy_is_that_of_one_run(gpu):
    _, taken = gpu

    def work():
        taken["mJ"] += 2500

    assert energy.joules(work, torch.device("cuda")) == pytest.approx(2.5)


def test_a_counter_that_stands_still_or_cannot_be_read_is_one_line(gpu):
    nvml, _ = gpu
    with pytest.raises(EosError, match="energy cannot be read: NVML's counter does not move"):
        energy.joules(lambda: None, torch.device("cuda"))

    def refuse(handle):
        raise NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = refuse
    with pytest.raises(EosError, match="energy cannot be read from NVML: Not Supported"):
        energy.counter(torch.device("cuda"))


def test_without_pynvml_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(EosError, match=r"energy needs pynvml, .*pip install 'eos-platform\[energy\]'"):
        energy.counter(torch.device("cuda"))
    with pytest.raises(EosError, match="the model is on cpu"):
        energy.counter(torch.device("cpu"))
