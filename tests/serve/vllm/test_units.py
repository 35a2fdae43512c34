"""Placeholders of tiles, and how many are left of them."""

from types import SimpleNamespace

import pytest

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.anyres import LlavaNext, LlavaOnevision
from eos_platform.models.bundled import folder
from eos_platform.serve.vllm.units import image_token, shrunk


@pytest.mark.parametrize(
    ("ids", "left"),
    [
        ([7, *[5] * 4, 8, *[5] * 4, 9], [7, 5, 5, 5, 8, 5, 5, 5, 9]),  # a word between tiles
        ([7, *[5] * 8, 9], [7, *[5] * 6, 9]),  # tiles in one run
        ([*[5] * 4], [5] * 3),
        ([], []),
    ],
)
def test_every_tile_has_fewer_placeholders_and_words_stay(ids: list[int], left: list[int]) -> None:
    assert shrunk(ids, 5, whole=4, kept=3) == left


def test_placeholders_of_no_whole_tile_are_refused() -> None:
    with pytest.raises(EosError, match="7 placeholders of a picture; its units have 4"):
        shrunk([5] * 7, 5, whole=4, kept=1)


def test_a_placeholder_is_found_by_either_name() -> None:
    assert image_token(SimpleNamespace(image_token_id=3)) == 3
    assert image_token(SimpleNamespace(image_token_index=0)) == 0
    with pytest.raises(EosError, match="no placeholder"):
        image_token(SimpleNamespace())


def test_units_of_a_picture_follow_from_its_size_alone() -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder("bundled-onevision"))
    assert LlavaOnevision().item(config, 224, 224).grids == ((8, 8), (16, 17))
    assert LlavaOnevision().item(config, 112, 336).grids == ((8, 8), (8, 25))
    whole = LlavaOnevision().item(config, 112, 336, cut=False)
    assert (whole.grids, whole.rest) == (((8, 8),), 1)
    assert LlavaNext().item(config, 60, 200).grids == ((8, 8), (4, 17))  # what pads it is cut off
