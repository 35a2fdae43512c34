"""Pictures encoded once a machine: the same to the last bit, bounded, and never in the way."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from eos_platform.tasks import cache, load_workload
from eos_platform.tasks.scenes.encode import Encoded


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def small():
    return load_workload("bundled-small", device="cpu")


def encoded(small, questions=12):
    return Encoded(small.model, small.processor.tokenizer, "validation", questions, small.config)


def test_the_second_time_nothing_goes_through_the_tower(place, small, monkeypatch):
    first = encoded(small)
    assert len(list(place.iterdir())) == 1
    monkeypatch.setattr(Encoded, "_encode_pictures", lambda *given: pytest.fail("the tower ran again"))
    second = encoded(small)
    assert torch.equal(first.features_mnd, second.features_mnd)
    assert first.vision_features.features.keys() == second.vision_features.features.keys()
    assert torch.equal(first.vision_features.features["vision"], second.vision_features.features["vision"])


def test_other_weights_or_pictures_are_another_entry(place, small):
    encoded(small)
    encoded(small, 40)
    weight = small.model.model.multi_modal_projector.linear_1.weight
    with torch.no_grad():
        weight[0, 0] += 1
        changed = encoded(small)
        weight[0, 0] -= 1
    assert len(list(place.iterdir())) == 3
    assert not torch.equal(changed.features_mnd, encoded(small).features_mnd)


def test_a_spoilt_file_is_made_again(place, small):
    first = encoded(small)
    (path,) = place.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(encoded(small).features_mnd, first.features_mnd)
    assert cache.load(path.stem) is not None


def test_other_types_of_numbers_are_taken_again_too(place):
    """A model in bfloat16, as on a GPU."""
    half = load_workload("bundled-small", device="cpu")
    half.model.to(torch.bfloat16)
    first = encoded(half)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoded, "_encode_pictures", lambda *given: pytest.fail("the tower ran again"))
        assert torch.equal(encoded(half).features_mnd, first.features_mnd)


def zeros(held):
    return {name: torch.zeros_like(value) for name, value in held.items()}


CHANGES = {
    "zeros": zeros,
    "one number": lambda held: {**held, "vision": held["vision"] + torch.eye(*held["vision"].shape)},
    "swapped": lambda held: {**held, "features": held["features"].flip(0)},
    "NaN": lambda held: {**held, "features": held["features"] * torch.nan},
    "infinite": lambda held: {**held, "vision": held["vision"] / 0},
    "fewer pictures": lambda held: {name: value[1:] for name, value in held.items()},
    "transposed": lambda held: {**held, "features": held["features"].mT},
    "flat": lambda held: {**held, "features": held["features"].flatten()},
    "half": lambda held: {name: value.half() for name, value in held.items()},
    "whole numbers": lambda held: {**held, "vision": held["vision"].int()},
    "one too few": lambda held: {"features": held["features"]},
    "one too many": lambda held: {**held, "keys": held["vision"].clone()},
    "another name": lambda held: {"features": held["features"], "sight": held["vision"]},
    "none": lambda held: {},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("header", ["kept", "none", "made anew"])
def test_what_is_not_as_it_was_kept_is_made_again(place, small, change, header):
    """A wrong checksum gives it away; and forms and numbers that cannot be whatever the checksum says."""
    first = encoded(small)
    (path,) = place.iterdir()
    with safe_open(path, framework="pt") as saved:
        metadata, held = saved.metadata(), {name: saved.get_tensor(name).clone() for name in saved.keys()}  # noqa: SIM118
    held = {name: value.contiguous() for name, value in CHANGES[change](held).items()}
    metadata = {"kept": metadata, "none": None, "made anew": {cache.CHECKSUM: cache.checksum(held)}}[header]
    save_file(held, path, metadata)
    if header == "made anew" and change in ("zeros", "one number", "swapped"):
        return  # whoever can write a checksum can write anything: it is no seal
    second = encoded(small)
    assert torch.equal(second.features_mnd, first.features_mnd)
    assert torch.equal(second.vision_features.features["vision"], first.vision_features.features["vision"])
    with safe_open(path, framework="pt") as saved:  # and kept in its place
        assert saved.metadata()[cache.CHECKSUM] == cache.checksum(
            {"features": first.features_mnd, "vision": first.vision_features.features["vision"]}
        )


@pytest.mark.parametrize("at", [9, 200, -1])
def test_a_flipped_bit_is_seen(place, small, at):
    first = encoded(small)
    (path,) = place.iterdir()
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
    assert torch.equal(encoded(small).features_mnd, first.features_mnd)


def test_what_is_no_file_is_passed_over(place, small):
    first = encoded(small)
    (path,) = place.iterdir()
    path.unlink()
    os.mkfifo(path)
    assert torch.equal(encoded(small).features_mnd, first.features_mnd)
    assert path.is_file()


def test_numbers_that_are_none_are_not_kept(place):
    cache.save("a", {"x": torch.tensor([1.0, torch.nan])})
    assert not place.exists()


def test_many_share_the_folder(place, monkeypatch):
    """Writers and readers at once, and too little room: a reader finds what was written or nothing, never another."""
    monkeypatch.setenv(cache.LIMIT, "0.00002")  # three of the files

    def work(who):
        for turn in range(60):
            key, other = (turn + who) % 5, (turn + 2 * who) % 5
            cache.save(str(key), {"x": torch.full((1500,), float(key))})
            found = cache.load(str(other), {"x": (torch.float32, (1500,))})
            assert found is None or bool((found["x"] == other).all())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert 0 < len(list(place.glob("*" + cache.SUFFIX))) <= 5
    assert not [path for path in place.iterdir() if path.name.startswith(".")]


def test_the_longest_unused_go_when_the_limit_is_reached(place, monkeypatch):
    monkeypatch.setenv(cache.LIMIT, "0.000003")  # 3,000 bytes: two of these, not three
    for age, key in enumerate("abc"):
        cache.save(key, {"x": torch.zeros(300)})
        os.utime(place / f"{key}{cache.SUFFIX}", (1000 + age, 1000 + age))
    assert sorted(path.stem for path in place.iterdir()) == ["b", "c"]
    cache.load("b")  # used, so that c is the older now
    cache.save("d", {"x": torch.zeros(300)})
    assert sorted(path.stem for path in place.iterdir()) == ["b", "d"]
    cache.save("e", {"x": torch.zeros(3000)})  # more than all there may be
    assert sorted(path.stem for path in place.iterdir()) == ["b", "d"]


def test_without_a_place_to_write_it_goes_on(place, small, monkeypatch):
    place.write_text("a file where the folder should be")
    first = encoded(small)
    monkeypatch.setenv(cache.FOLDER, "off")
    assert torch.equal(encoded(small).features_mnd, first.features_mnd)
