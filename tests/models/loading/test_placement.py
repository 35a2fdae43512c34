"""Of which type weights are loaded, and where to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.models.loading import placement
from eos_platform.models.loading.placement import place_weights, weights_bytes
from eos_platform.tasks import load_workload


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two GPUs of 10 MB that nothing is put on."""
    has: dict[str, Any] = {"packages": {"accelerate", "bitsandbytes"}}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10_000_000, 10_000_000))
    monkeypatch.setattr(placement, "find_device", lambda name: torch.device(name or "cuda:0"))
    monkeypatch.setattr(placement, "_has", lambda package: package in has["packages"])
    return has


def weights(folder: Path, size: int) -> Path:
    (folder / "model.safetensors").write_bytes(b"0" * size)
    return folder


def test_types_on_the_cpu(tmp_path: Path) -> None:
    assert place_weights(tmp_path, "cpu").options == {"dtype": torch.float32}
    assert place_weights(tmp_path, "cpu", "bfloat16").options == {"dtype": torch.bfloat16}
    model = load_workload("bundled-small", device="cpu", dtype="bfloat16").model
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [
        ("cpu", "bfloat61", "unknown dtype 'bfloat61'.*bfloat16"),
        ("auto", "auto", "device 'auto' spreads a model over GPUs, and there is none here"),
        ("cpu", "4bit", "dtype 4bit needs"),
    ],
)
def test_what_cannot_be(tmp_path: Path, device: str, dtype: str, words: str) -> None:
    with pytest.raises(EosError, match=words):
        place_weights(tmp_path, device, dtype)


def test_bits_need_a_package_and_a_gpu(tmp_path: Path, gpus: dict[str, Any]) -> None:
    with pytest.raises(EosError, match="dtype 4bit needs a GPU, and the model is to run on cpu"):
        place_weights(tmp_path, "cpu", "4bit")
    gpus["packages"].clear()
    with pytest.raises(
        EosError, match=r"dtype 8bit needs bitsandbytes and accelerate: pip install 'eos-platform\[large\]'"
    ):
        place_weights(tmp_path, "cuda:0", "8bit")


def test_a_model_that_fits_one_gpu_is_loaded_there(tmp_path: Path, gpus: dict[str, Any]) -> None:
    found = place_weights(weights(tmp_path, 8_000_000))
    assert found.options == {"dtype": torch.bfloat16, "device_map": {"": torch.device("cuda:0")}}
    assert found.device is None
    gpus["packages"].clear()  # without accelerate by way of the host
    found = place_weights(tmp_path)
    assert (found.options, found.device) == ({"dtype": torch.bfloat16}, torch.device("cuda:0"))


def test_one_that_does_not_is_spread(tmp_path: Path, gpus: dict[str, Any]) -> None:
    found = place_weights(weights(tmp_path, 9_000_000))
    assert (found.options["device_map"], found.device) == ("auto", None)
    assert place_weights(tmp_path, "cuda:1").options["device_map"] == {"": torch.device("cuda:1")}
    assert place_weights(tmp_path, dtype="float32").options["device_map"] == "auto"
    gpus["packages"].clear()
    with pytest.raises(EosError, match=r"its weights take 9\.0 MB, more than one GPU has.*needs accelerate"):
        place_weights(tmp_path)


def test_bytes_of_weights_as_they_would_be() -> None:
    held = sum(file.stat().st_size for file in folder("bundled-small").glob("*.safetensors"))
    assert weights_bytes(folder("bundled-small"), None) == held
    assert weights_bytes(folder("bundled-small"), torch.float32) == 2 * held


def test_weights_of_few_bits_are_spread_by_what_they_take(monkeypatch):
    """With two GPUs in sight, of which one has room for half of the weights in bfloat16."""
    gpu = torch.device("cuda:0")
    held = weights_bytes(folder("bundled-small"), torch.bfloat16)
    monkeypatch.setattr(placement, "find_device", lambda device: gpu)
    monkeypatch.setattr(placement, "_has", lambda package: True)
    monkeypatch.setattr(placement, "_bits", lambda dtype, place: dtype)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (0.6 * held / placement.ROOM, held))
    assert place_weights(folder("bundled-small"), None, "bfloat16").options["device_map"] == "auto"
    assert place_weights(folder("bundled-small"), None, "8bit").options["device_map"] == {"": gpu}
