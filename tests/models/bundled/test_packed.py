"""Packed weights: what they mean, what is refused, and the ordinary folder that is made of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from eos_platform.common.errors import EosError
from eos_platform.models import bundled
from eos_platform.models.bundled import packed as format_
from eos_platform.models.bundled.packed import FORMAT, PACKED, WEIGHTS, packed, unpack, unpacked


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "a.weight": torch.randn(6, 40).bfloat16(),
        "a.bias": torch.randn(6).bfloat16(),
        "conv.weight": torch.randn(4, 3, 2, 2) * torch.tensor([1e-6, 1.0, 50.0, 0.0]).view(-1, 1, 1, 1),
    }


def test_numbers_come_back_within_half_a_step_of_their_row(tmp_path: Path) -> None:
    (tmp_path / PACKED).write_bytes(packed(weights()))
    found = unpacked(tmp_path / PACKED)
    assert list(found) == sorted(weights()) or set(found) == set(weights())
    assert torch.equal(found["a.bias"], weights()["a.bias"])
    for name in ("a.weight", "conv.weight"):
        before, after = weights()[name].float().flatten(1), found[name].float().flatten(1)
        assert found[name].dtype == torch.bfloat16
        assert found[name].shape == weights()[name].shape
        most = before.abs().amax(1, keepdim=True)
        assert ((after - before).abs() <= most / 127 / 2 + before.abs() / 200 + 1e-30).all()
    assert (found["conv.weight"][3] == 0).all()


def _saved(path: Path, change: object = None, reported: dict[str, str] | None = None) -> Path:
    (path / "first").write_bytes(packed(weights()))
    tensors = load_file(path / "first")
    if callable(change):
        change(tensors)
    save_file(tensors, path / PACKED, FORMAT if reported is None else reported)
    return path / PACKED


def _nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["a.bias"][0] = torch.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("a.weight.scale"), "'a.weight' has no scale"),
        (lambda t: t.update({"a.weight.scale": t["a.weight.scale"][:5].clone()}), r"of shape \(6, 40\)"),
        (lambda t: t.update({"a.weight.scale": t["a.weight.scale"].double()}), "float64"),
        (lambda t: t.update({"a.weight.scale": t["a.weight.scale"] * torch.inf}), "finite and above 0"),
        (lambda t: t.update({"a.weight.scale": -t["a.weight.scale"]}), "finite and above 0"),
        (lambda t: t["a.weight"].fill_(-128), "from -127 to 127"),
        (lambda t: t.update({"a.bias": t["a.bias"].long()}), "'a.bias': int8 with a scale is expected"),
        (lambda t: t.update({"a.bias.scale": torch.ones(6)}), "'a.bias': int8 with a scale is expected"),
        (_nan, "'a.bias': numbers that are not finite"),
    ],
)
def test_what_the_format_does_not_allow_is_refused(change: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(EosError, match=words):
        unpacked(_saved(tmp_path, change))


def test_other_files_are_refused(tmp_path: Path) -> None:
    for reported in ({}, {**FORMAT, "version": "2"}):
        with pytest.raises(EosError, match="its metadata must say"):
            unpacked(_saved(tmp_path, reported=reported))
    (tmp_path / PACKED).write_bytes(packed(weights())[:-20])
    with pytest.raises(EosError, match="no safetensors file"):
        unpacked(tmp_path / PACKED)
    with pytest.raises(EosError, match="packed weights"):
        unpacked(tmp_path / "absent")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "small"
    place.mkdir()
    (place / "config.json").write_text("{}")
    (place / PACKED).write_bytes(packed(weights()))
    return place


def test_an_ordinary_folder_is_made_once_and_mended(folder: Path, tmp_path: Path) -> None:
    place = unpack(folder, tmp_path / "cache")
    assert place.is_relative_to(tmp_path / "cache")
    assert {file.name for file in place.iterdir()} == {
        "config.json",
        WEIGHTS,
    }
    assert torch.equal(load_file(place / WEIGHTS)["a.weight"], unpacked(folder / PACKED)["a.weight"])
    before = (place / WEIGHTS).stat().st_mtime_ns
    assert unpack(folder, tmp_path / "cache") == place
    assert (place / WEIGHTS).stat().st_mtime_ns == before
    whole = (place / WEIGHTS).read_bytes()
    (place / WEIGHTS).write_bytes(whole[:100])
    (place / "config.json").unlink()
    unpack(folder, tmp_path / "cache")
    assert (place / WEIGHTS).read_bytes() == whole
    assert (place / "config.json").read_text() == "{}"
    (folder / PACKED).write_bytes(packed({"a.weight": torch.ones(2, 2)}))
    assert unpack(folder, tmp_path / "cache") != place  # other weights, another folder


def test_where_nothing_can_be_kept_it_is_made_for_this_process(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for cache in (None, tmp_path / "file"):
        place = unpack(folder, cache)
        assert (place / WEIGHTS).is_file()
    for made in format_._TEMPORARY:
        made.cleanup()


def test_all_bundled_weights_together_are_small_and_folders_are_whole() -> None:
    home = Path(bundled.__file__).parent
    assert sum(path.stat().st_size for path in home.rglob("*.safetensors")) <= 48e6
    assert {path.parent.name for path in home.rglob("config.json")} == set(bundled.MODELS)
    for name in bundled.MODELS:
        place = bundled.folder(name)
        assert {"config.json", "tokenizer.json", "processor_config.json", WEIGHTS} <= {f.name for f in place.iterdir()}
        assert (
            "<image" in (place / "chat_template.jinja").read_text()
            or "image" in (place / "chat_template.jinja").read_text()
        )


@pytest.mark.parametrize("name", [name for name, reported in bundled.MODELS.items() if reported.task == "scenes-v2"])
def test_transformers_alone_loads_a_bundled_model(name: str) -> None:
    from transformers import AutoModelForImageTextToText

    model, reported = AutoModelForImageTextToText.from_pretrained(
        bundled.folder(name), output_loading_info=True, local_files_only=True
    )
    assert not any(reported[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert 2e6 < sum(parameter.numel() for parameter in model.parameters()) < 4e6


def test_a_folder_that_is_gone_is_made_again() -> None:
    place = bundled.folder("bundled-gemma")
    assert bundled.folder("bundled-gemma") == place
    shutil.rmtree(place)
    assert (bundled.folder("bundled-gemma") / WEIGHTS).is_file()
    assert json.loads((place / "config.json").read_text())["model_type"] == "gemma3"
