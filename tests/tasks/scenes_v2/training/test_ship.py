"""A bundled model is made of a trained one: it loses what eight bits cost, and is asked as it was trained."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eos_platform.common.errors import EosError
from eos_platform.models.bundled import MODELS, folder
from eos_platform.models.bundled.packed import PACKED, WEIGHTS, unpacked
from eos_platform.tasks.scenes_v2.training.families import FAMILIES, family
from eos_platform.tasks.scenes_v2.training.ship import OTHERS, TEMPLATE, ship


@pytest.mark.parametrize("eight_bit", [False, True])
def test_files_go_along_and_weights_are_packed(eight_bit: bool, tmp_path: Path) -> None:
    trained = folder("bundled-qwen")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "of an earlier one").touch()
    size = ship(trained, tmp_path / "out", "bundled-qwen", eight_bit)
    weights = tmp_path / "out" / (PACKED if eight_bit else WEIGHTS)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*OTHERS, TEMPLATE, weights.name}
    assert size == weights.stat().st_size
    before, after = load_file(trained / WEIGHTS), (unpacked if eight_bit else load_file)(weights)
    assert set(before) == set(after)
    for name, value in before.items():
        rows, error = value.float().flatten(0 if value.dim() < 2 else 1), (after[name].float() - value.float()).abs()
        assert error.max() <= (rows.abs().max() / 127 if eight_bit else 0)
        assert after[name].dtype == torch.bfloat16


def test_training_must_know_the_model(tmp_path: Path) -> None:
    with pytest.raises(EosError, match=r"unknown model to train.*bundled-qwen"):
        ship(folder("bundled-qwen"), tmp_path / "out", "bundled-qwem", False)
    assert not (tmp_path / "out").exists()


def test_what_ships_is_asked_as_training_has_it() -> None:
    for name, reported in MODELS.items():
        if reported.task == "scenes-v2":
            assert (folder(name) / TEMPLATE).read_text() == family(name.removesuffix("-v2")).chat_template()
    assert all("{% if m['role'] == 'assistant' %} {% endif %}" in family(name).chat_template() for name in FAMILIES)
