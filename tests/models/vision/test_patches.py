"""What visual tokens receive in towers without a class token, against the towers' own attention maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import parts_of, target_of
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.runtime import site_step
from eos_platform.models.runtime.attach import attach, attached
from eos_platform.operators.spec import OperatorSpec, SiteSpec

READS = [
    family for family in SAMPLES if family.startswith(("Qwen", "SmolVLM", "Idefics3", "InternVL", "Gemma", "Pali"))
]


def operator(model: Any) -> OperatorSpec:
    target = target_of(model)
    return OperatorSpec(target=target, sites=(SiteSpec(layer=0, keep=target.tokens // 3, score={"received": 1.0}),))


def seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What sites are given, one tensor (u, n) a grid."""
    found: list[Tensor] = []
    own = site_step.reduce

    def spy(site: SiteSpec, tokens: Any, given: dict[str, Tensor], grid: Any) -> Any:
        found.append(given["received"])
        return own(site, tokens, given, grid)

    monkeypatch.setattr(site_step, "reduce", spy)
    return found


class Maps:
    """Attention maps of the tower's last block, by the attention function that its module calls, and the tokens."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        parts = parts_of(model)
        assert parts.family is not None
        attention = parts.family.tower_attention(parts)
        self.maps: list[Tensor] = []
        module = __import__(type(attention).__module__, fromlist=["eager_attention_forward"])
        own = module.eager_attention_forward

        def noting(called: Any, *args: Any, **more: Any) -> tuple[Tensor, Tensor]:
            output = own(called, *args, **more)
            if called is attention:
                self.maps.append(output[1])
            return output

        monkeypatch.setattr(module, "eager_attention_forward", noting)

    def received(self) -> list[Tensor]:
        return [one.float().mean((1, 2)) for one in self.maps]


@pytest.mark.parametrize("family", [name for name in READS if not name.startswith("Qwen")])
def test_squares_of_patches(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = SAMPLES[family]
    model = fresh(sample, "eager")
    maps, found = Maps(model, monkeypatch), seen(monkeypatch)
    with attached(model, operator(model)), torch.no_grad():
        model(**prompts(sample, [[sample.sizes[0]], [sample.sizes[-1], sample.sizes[0]]], (5, 3)))
    (patches_mk,), rows = maps.received(), target_of(model).grid[0]
    side = int(patches_mk.shape[1] ** 0.5)
    patches_mk = patches_mk[:, patches_mk.shape[1] - side * side :]
    cut = side // rows
    for picture_n, patch_k in zip(found[0], patches_mk, strict=True):
        for place in range(rows * rows):
            top, left = place // rows * cut, place % rows * cut
            cells = [patch_k[(top + i) * side + left + j] for i in range(cut) for j in range(cut)]
            assert torch.isclose(picture_n[place], sum(cells) / len(cells), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("family", [name for name in READS if name.startswith("Qwen")])
def test_rows_of_patches(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are told apart by what the merger makes of their patches, whatever order the tower has them in."""
    sample = SAMPLES[family]
    model = fresh(sample, "eager")
    maps, found, merged = Maps(model, monkeypatch), seen(monkeypatch), list[Tensor]()
    tower = parts_of(model).tower
    tower.merger.register_forward_hook(lambda module, args, output: merged.append(output))
    tower.register_forward_hook(lambda module, args, output: merged.append(output.pooler_output))
    sizes = [[sample.sizes[0]], [sample.sizes[-1]]]
    with attached(model, operator(model)), torch.no_grad():
        model(**prompts(sample, sizes, (5, 3)))
    in_tower_kd, in_prompt_kd = merged[0], merged[-1]
    patches_k = torch.cat([one[0] for one in maps.received()])
    lengths = [one.shape[1] for one in maps.received()]
    assert sum(lengths) == 4 * len(in_tower_kd)
    order = [int((in_tower_kd - token).abs().sum(-1).argmin()) for token in in_prompt_kd]
    assert sorted(order) == list(range(len(order)))
    expected = patches_k.view(-1, 4).mean(1)[order]
    given = torch.cat([one.flatten() for one in found])
    if sample.sizes[0] != sample.sizes[-1]:
        assert len(found) == 2
    torch.testing.assert_close(given.sort().values, expected.sort().values, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found[0].flatten(), expected[: found[0].numel()], rtol=1e-4, atol=1e-7)


def test_what_is_not_read_is_said() -> None:
    sample = SAMPLES["LLaVA-NeXT"]
    model = fresh(sample)
    with pytest.raises(EosError, match="'received': not for LLaVA-NeXT, whose vision tower's attention is not read"):
        attach(model, operator(model))


def test_of_films_each_frame_is_read_as_a_picture_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both in one prompt are encoded one after the other, of which the latest is known: refused."""
    sample = SAMPLES["Qwen2.5-VL"]
    model, found = fresh(sample), seen(monkeypatch)
    with attached(model, operator(model)):
        model(**prompts(sample, [[]], (4,), films=2))
        (frames,) = found
        assert frames.shape == (2, 12)
        torch.testing.assert_close(frames.sum(1) * 4, torch.ones(2))  # over its patches, four a token
        with pytest.raises(EosError, match="'received' is read of pictures or of films, not of both in one prompt"):
            model(**prompts(sample, [[sample.sizes[0]]], (4,), films=2))


def test_a_copy_and_generation_read_the_same() -> None:
    sample = SAMPLES["SmolVLM"]
    model = fresh(sample)
    inputs = prompts(sample, [[sample.sizes[0]]], (5,))
    with attached(model, operator(model)), torch.no_grad():
        once = model(**inputs).logits[:, -1].argmax(-1)
        assert model.generate(**inputs, max_new_tokens=1, do_sample=False)[0, -1] == once
