"""Which units belong to which prompt; grids found from counts; what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import FAMILIES, family_of
from eos_platform.models.adapters.anyres import _piece, _shown
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.runtime.attach import attach, attached
from eos_platform.models.runtime.image_call import trust_shapes
from eos_platform.models.runtime.visual_spans import MediaItem, Unit, share_out
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

POINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))


def test_pieces_go_to_the_prompts_that_have_room_for_them() -> None:
    small, large = MediaItem(((2, 2),)), MediaItem(((3, 3), (2, 5)), rest=1)
    units = share_out([small, large, small], [24, 0, 4])
    assert units.groups == (
        ((2, 2), (Unit(0, 0, 0), Unit(2, 0, 2))),
        ((3, 3), (Unit(0, 4, 1),)),
        ((2, 5), (Unit(0, 13, 1),)),
    )


@pytest.mark.parametrize(("device", "prompts", "told"), [("cpu", 1, False), ("meta", 1, True), ("meta", 2, False)])
def test_shapes_are_believed_of_one_prompt_on_a_device(device: str, prompts: int, told: bool) -> None:
    """Two images with two prompts may both be the first one's."""
    assert trust_shapes(torch.zeros(prompts, 9, dtype=torch.bool, device=device)) is told


def test_beams_share_pieces_that_came_once_or_bring_their_own() -> None:
    piece = MediaItem(((2, 2),))
    once = share_out([piece, piece], [4, 4, 4, 4])
    assert once.groups == (((2, 2), (Unit(0, 0, 0), Unit(1, 0, 0), Unit(2, 0, 1), Unit(3, 0, 1))),)
    each = share_out([piece] * 4, [4, 4, 4, 4])
    assert [unit.image for unit in each.groups[0][1]] == [0, 1, 2, 3]


@pytest.mark.parametrize("counts", [[5], [4, 3], [3, 5]])
def test_pieces_that_do_not_fill_the_prompts_are_refused(counts: list[int]) -> None:
    with pytest.raises(EosError, match="places"):
        share_out([MediaItem(((2, 2),)), MediaItem(((2, 2),))], counts)


@pytest.mark.parametrize("size", [(480, 640), (900, 300), (672, 672), (200, 1000), (333, 500)])
def test_llava_next_grids_are_found_from_counts(size: tuple[int, int]) -> None:
    rows, columns = _shown(*size, 24, POINTS, 336, None)
    assert _piece(576 + rows * (columns + 1), 24, POINTS, 336, None).grids == ((24, 24), (rows, columns + 1))


def test_a_count_that_no_picture_has_is_refused() -> None:
    with pytest.raises(EosError, match="600 visual tokens is none of the sizes"):
        _piece(600, 24, POINTS, 336, None)


def test_unknown_families_are_told_how_to_come_in() -> None:
    stranger = nn.Linear(1, 1)
    stranger.config = SimpleNamespace(model_type="qwen2_vk")  # type: ignore[assignment]
    with pytest.raises(EosError, match=r"not to Linear \(model type 'qwen2_vk'\); did you mean 'qwen2_vl'\?"):
        family_of(stranger)
    stranger.config.model_type = "entirely-other"
    with pytest.raises(EosError, match=r"'entirely-other'\); known: aya_vision, .* more; how .*adapters/README\.md$"):
        family_of(stranger)
    assert {"llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "smolvlm", "internvl", "gemma3", "paligemma"} <= set(
        FAMILIES
    )


def site(**more: object) -> SiteSpec:
    return SiteSpec.model_validate({"layer": 1, "keep": 4, "score": {"norm": 1.0}, **more})


def test_what_a_family_cannot_do_is_refused_by_name() -> None:
    model = built(SAMPLES["Qwen2.5-VL"])
    target = target_of(model)
    for refused, match in (
        (site(score={"vision": 1.0}), "vision: not for Qwen-VL"),
        (site(positions="renumber"), "positions of several axes"),
        (site(place="tower"), "sites in the vision tower: not for Qwen-VL"),
    ):
        with pytest.raises(EosError, match=match):
            attach(model, OperatorSpec(target=target, sites=(refused,)))
    with pytest.raises(EosError, match=r"for 9 decoder layers; the model has 4; eos\.rescale"):
        attach(model, OperatorSpec(target=Target(layers=9, grid=(4, 4)), sites=(site(),)))


def test_shares_hold_for_every_size_of_picture() -> None:
    sample = SAMPLES["Qwen2.5-VL"]
    model = built(sample)
    operator = OperatorSpec(target=Target(layers=4, grid=(10, 10)), sites=(site(keep=25),))
    for picture, kept in (((4, 5), 5), ((6, 3), 5), ((3, 3), 2), ((1, 1), 1)):
        inputs = prompts(sample, [[picture]])
        with attached(model, operator):
            cache = cache_of(model(**inputs, use_cache=True))
        others = inputs["input_ids"].shape[1] - picture[0] * picture[1]
        assert [cache.get_seq_length(layer) - others for layer in range(4)] == [picture[0] * picture[1], *[kept] * 3]


def test_the_prompt_that_is_not_filled_is_named() -> None:
    small, large = MediaItem(((2, 2),)), MediaItem(((2, 3),), rest=1)
    assert (small.tokens, large.tokens) == (4, 7)
    with pytest.raises(EosError, match=r"do not fill the 7 places of prompt 2$"):
        share_out([small, small, small, large], [4, 7, 8])
    with pytest.raises(EosError, match="9 places for visual tokens in the prompts, and 4 visual tokens came"):
        share_out([small], [9])
    assert share_out([], [0, 0]).groups == ()


@pytest.mark.parametrize(
    ("pieces", "counts", "plain"),
    [
        ([MediaItem(((2, 2),))] * 2, [4, 4], True),
        ([MediaItem(((2, 2),))], [4], True),
        ([MediaItem(((2, 2),))] * 2, [8], False),
        ([MediaItem(((2, 2),)), MediaItem(((1, 4),))], [4, 4], False),
        ([MediaItem(((2, 2),), rest=1)], [5], False),
        ([MediaItem(((2, 2),))], [4, 0], False),
    ],
)
def test_plain_is_one_unit_a_prompt_and_nothing_else(pieces: list[MediaItem], counts: list[int], plain: bool) -> None:
    assert share_out(pieces, counts).plain is plain
