"""Operators on whole films: prompts whose films differ in length, alone and together; what stays is found by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import SAMPLES, VIDEO, prompts
from eos_platform.models.runtime.attach import attached
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.spec import OperatorSpec, Quota, SiteSpec, Target

torch.set_num_threads(1)
SAMPLE = SAMPLES["Qwen2.5-VL"]
EVS = SiteSpec(layer=0, scope="film", keep=12, score={"change": 1.0})


def operator(*sites: SiteSpec) -> OperatorSpec:
    """Of a film of four frames of three by four tokens."""
    layers = len(adapter_of(built(SAMPLE)).parts.layers)
    return OperatorSpec(target=Target(layers=layers, grid=(12, 4), frames=4), sites=sites)


def together(*frames: int) -> dict[str, Any]:
    """Prompts of one film each, of so many frames, padded on the left."""
    each = [prompts(SAMPLE, [[]], (5,), seed=count, films=count) for count in frames]
    longest = max(one["input_ids"].shape[1] for one in each)
    made: dict[str, Any] = {}
    for name in each[0]:
        values = [one[name] for one in each]
        if values[0].shape[:1] == (1,) and name not in ("video_grid_thw",):
            values = [torch.nn.functional.pad(value, (longest - value.shape[1], 0)) for value in values]
        made[name] = torch.cat(values)
    return made


@torch.no_grad()
def logits(inputs: dict[str, Any], spec: OperatorSpec | None) -> torch.Tensor:
    model = built(SAMPLE)
    if spec is None:
        return model(**inputs).logits[:, -1]
    with attached(model, spec):
        return model(**inputs).logits[:, -1]


@pytest.mark.parametrize(
    "sites",
    [
        (EVS,),
        (EVS, SiteSpec(layer=2, scope="film", keep=6, score={"last_text": 1.0, "change": 0.2}, beta=1.0)),
        (
            SiteSpec(
                layer=1,
                scope="film",
                keep=16,
                score={"film_uniqueness": 1.0},
                quota=Quota(kind="frames", share="softmax", feature="film_distance", temperature=0.01),
            ),
        ),
    ],
)
def test_films_of_other_lengths_in_one_batch_are_reduced_as_alone(sites: tuple[SiteSpec, ...]) -> None:
    both = logits(together(2, 4, 3), operator(*sites))
    for row, frames in enumerate((2, 4, 3)):
        assert torch.allclose(both[row], logits(together(frames), operator(*sites))[0], atol=2e-4, rtol=1e-4)


def test_keeping_every_token_of_a_film_changes_nothing() -> None:
    inputs = together(2, 4)
    whole = SiteSpec(layer=0, scope="film", keep=48, score={"change": 1.0})
    assert torch.equal(logits(inputs, operator(whole)), logits(inputs, None))


def test_what_stays_of_a_film_is_what_changed_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole first frame of four, here: a quarter of the tokens stays; of two frames half of it."""
    kept: list[TokenState] = []
    real = TokenState.keeping

    def keeping(self: TokenState, *given: Any) -> Any:
        result = real(self, *given)
        kept.append(result[0])
        return result

    monkeypatch.setattr(TokenState, "keeping", keeping)
    for frames, share in ((4, 12), (2, 6)):
        inputs = together(frames)
        logits(inputs, operator(EVS))
        (group,) = kept[-1].groups
        assert group.grid == (frames, 3, 4)
        assert group.origin_un[0].tolist() == list(range(share))
        places = (inputs["input_ids"][0] == VIDEO).nonzero()[:, 0]
        assert kept[-1].slot_bk[0, group.place_un[0]].tolist() == places[:share].tolist()


def test_pictures_of_one_size_in_a_prompt_count_as_frames() -> None:
    """What is new in the second of two pictures stays, what was in the first goes."""
    size = SAMPLE.sizes[0]
    inputs = prompts(SAMPLE, [[size, size]], (6,), seed=5)
    tokens = SAMPLE.tokens(size)
    pixels = inputs["pixel_values"]
    pixels[len(pixels) // 2 :] = pixels[: len(pixels) // 2]  # the same picture again
    layout = adapter_of(built(SAMPLE)).layout(inputs)
    assert layout.units[0][1] == 2
    spec = operator(SiteSpec(layer=0, scope="film", keep=24, score={"change": 1.0}))
    with torch.no_grad(), attached(built(SAMPLE), spec):
        half = built(SAMPLE)(**inputs, use_cache=True).past_key_values.get_seq_length(0)
    assert half == inputs["input_ids"].shape[1] - tokens  # as many stay as one picture has


@pytest.mark.parametrize("family", ["LLaVA-1.5", "InternVL", "SmolVLM"])
def test_families_of_one_size_take_operators_of_films_of_any_length(family: str) -> None:
    """Made for films of two frames: of three pictures half of the tokens stays, and of one."""
    sample = SAMPLES[family]
    model = built(sample)
    rows, columns = adapter_of(model).parts.grid
    target = Target(layers=len(adapter_of(model).parts.layers), grid=(2 * rows, columns), frames=2)
    spec = OperatorSpec(
        target=target, sites=(SiteSpec(layer=0, scope="film", keep=rows * columns, score={"change": 1.0}),)
    )
    size, whole = sample.sizes[0], 0
    for count in (1, 3) if family != "LLaVA-1.5" else (1,):
        inputs = prompts(sample, [[size] * count], (6,), seed=5)
        units = adapter_of(model).layout(inputs).units
        whole = sum(a * b * many for (a, b), many in units)
        gone = sum((a * b * many) // 2 for (a, b), many in units)
        with torch.no_grad(), attached(model, spec):
            left = model(**inputs, use_cache=True).past_key_values.get_seq_length(0)
        assert left == inputs["input_ids"].shape[1] - gone
    assert whole
    other = spec.model_copy(update={"target": target.model_copy(update={"grid": (2 * rows + 2, columns)})})
    with pytest.raises(EosError, match=f"is for a {rows + 1}x{columns} grid"), attached(model, other):
        pass
    fitted = other.model_copy(update={"target": other.target.model_copy(update={"layers": 2})})
    with attached(model, fitted, rescale=True), torch.no_grad():
        model(**inputs)
