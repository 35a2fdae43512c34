"""What is counted of prompts that hold unlike numbers of visual tokens."""

import pytest
import torch

from eos_platform.models.runtime.ragged import Ragged


def ragged(visual: tuple[int, ...] = (2, 1)) -> Ragged:
    visual_bs = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 0, 0]], dtype=torch.bool)
    return Ragged.of(torch.ones(2, 5, dtype=torch.bool), visual_bs, (), visual)


def test_places_of_other_tokens_behind_them_some_that_never_ask() -> None:
    assert ragged().other_bt().tolist() == [[0, 3, 4, 1], [0, 1, 3, 4]]


def test_every_prompt_has_its_count() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ragged((2,)).other_bt()
    assert ragged().gone() == (0, 0)
