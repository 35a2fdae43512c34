"""Which Gemma 4 operators attach to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.families.gemma4 import Gemma4


@pytest.mark.parametrize(("shared", "own"), [(20, 256), (0, 256), (20, 0)])
def test_layers_that_read_the_keys_of_others_or_have_input_of_their_own_are_refused(shared: int, own: int) -> None:
    text = SimpleNamespace(num_kv_shared_layers=shared, hidden_size_per_layer_input=own)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))
    with pytest.raises(EosError, match="E2B, E4B"):
        Gemma4().parts(model)


def test_pictures_are_told_by_where_their_patches_stand() -> None:
    import torch

    places = torch.full((2, 24, 2), -1)
    for number, (rows, columns) in enumerate(((4, 6), (2, 4))):
        for place in range(rows * columns):
            places[number, place] = torch.tensor([place % columns, place // columns])
    vision = SimpleNamespace(pooling_kernel_size=2)
    parts = SimpleNamespace(body=SimpleNamespace(config=SimpleNamespace(vision_config=vision)))
    call = {"pixel_values": torch.ones(1), "image_position_ids": places}
    items = Gemma4().media_items(parts, call, Gemma4().sizes(call))["image"]  # type: ignore[arg-type]
    assert [item.grids for item in items] == [((2, 3),), ((1, 2),)]
    with pytest.raises(EosError, match="films"):
        Gemma4().media_items(parts, {"pixel_values_videos": torch.ones(1)}, [])  # type: ignore[arg-type]
