"""Features of the tower that a language model adds at later layers, as whole sequences."""

import torch

from eos_platform.models.adapters.deep import FEATURES, PLACES, given


def test_no_level_is_no_argument():
    assert given([]) == {}


def test_one_level_and_several_have_the_same_places():
    x_bsd = torch.arange(12.0).reshape(2, 3, 2)
    for levels in ([x_bsd], [x_bsd, 2 * x_bsd]):
        found = given(levels)
        assert found[PLACES].shape == (2, 3)
        assert bool(found[PLACES].all())
        assert [level.tolist() for level in found[FEATURES]] == [level.flatten(0, 1).tolist() for level in levels]
