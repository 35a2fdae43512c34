"""Pictures encoded once a machine: the same to the last bit, bounded, and never in the way."""

import os

import pytest
import torch

from eos_platform.tasks import cache, load_workload
from eos_platform.tasks.encode import Encoded


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
    monkeypatch.setattr(Encoded, "_see", lambda *given: pytest.fail("the tower ran again"))
    second = encoded(small)
    assert torch.equal(first.features_mnd, second.features_mnd)
    assert first.sight.told.keys() == second.sight.told.keys()
    assert torch.equal(first.sight.told["vision"], second.sight.told["vision"])


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
