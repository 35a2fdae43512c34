"""Models on flash attention, with a stand-in for its kernels: they do what they do on sdpa."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from flash_kernels import KERNEL, flash, stand_in
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.runs import CLOSE, NEW, cached
from eos_platform.models.conformance.subjects import batches, built, samples, specs
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec, SiteSpec

FAMILIES = ("LLaVA-1.5", "LLaVA-NeXT", "Qwen2.5-VL", "SmolVLM")
OTHERS = ("LLaVA-OneVision", "Qwen2-VL", "Qwen3-VL", "Idefics3", "InternVL", "Qwen3.5")
NAMES = ("prune", "prune at 0", "merge at 0", "pool", "many", "two at 2", "renumber", "renumber at 0", "drop_all")
# positions of several axes are never renumbered
CASES = [(family, name) for family in FAMILIES for name in NAMES if "Qwen" not in family or "renumber" not in name]


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the stand-in's kernels was called."""
    return stand_in(monkeypatch)


def on_the_right(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same prompts, padded on the right."""
    pad_b = (inputs["attention_mask"] == 0).sum(1).tolist()
    moved = dict(inputs)
    for name, tensor in inputs.items():
        if tensor.shape == inputs["input_ids"].shape:
            moved[name] = torch.stack([row.roll(-pad) for row, pad in zip(tensor, pad_b, strict=True)])
    return moved


@torch.no_grad()
def same(family: str, operator: OperatorSpec, kind: str = "flash_attention_2") -> None:
    """Logits, and what ``generate`` adds with its cache, are those of sdpa on every batch of prompts."""
    sdpa, model = built(samples()[family]), flash(family, kind)
    for name, inputs in batches(samples()[family]).items():
        with attached(sdpa, operator), attached(model, operator):
            for given in (inputs, on_the_right(inputs)):
                there = given["attention_mask"].bool()
                assert torch.allclose(model(**given).logits[there], sdpa(**given).logits[there], **CLOSE), name
            (ids_bt, steps), (expected_bt, expected) = cached(model, inputs), cached(sdpa, inputs)
            assert torch.equal(ids_bt, expected_bt), name
            assert torch.allclose(steps, expected, **CLOSE), name


@pytest.mark.parametrize(("family", "name"), CASES)
def test_as_on_sdpa(called: Counter[str], family: str, name: str) -> None:
    same(family, specs(built(SAMPLES[family]))[name])
    assert called["plain"]
    assert called["varlen"]


@pytest.mark.parametrize("family", OTHERS)
def test_other_families(family: str) -> None:
    same(family, specs(built(samples()[family]))["many"])


@pytest.mark.parametrize("kind", ["flash_attention_3", KERNEL])
def test_other_kernels(called: Counter[str], kind: str) -> None:
    same("SmolVLM", specs(built(SAMPLES["SmolVLM"]))["many"], kind)
    assert called["varlen"]


@pytest.mark.parametrize("design", ["fastv", "pyramiddrop", "vtw"])
def test_hand_designed(called: Counter[str], design: str) -> None:
    operator = get_design(design).build(target_of(built(SAMPLES["LLaVA-1.5"])), 18)
    same("LLaVA-1.5", operator)
    assert called["plain"]


def test_sizes_change_from_site_to_site() -> None:
    target, merged = target_of(built(SAMPLES["LLaVA-NeXT"])), {"score": {"norm": 1.0}, "transfer": {"gamma": 1.0}}
    sites = [
        SiteSpec.model_validate({**merged, "layer": layer, "keep": round(share * target.tokens), "beta": beta})
        for layer, share, beta in ((0, 0.6, 1.0), (1, 0.4, 0.5), (2, 0.2, 0.0), (3, 0.1, 1.0))
    ]
    same("LLaVA-NeXT", OperatorSpec(target=target, sites=tuple(sites)))


@torch.no_grad()
def test_identity() -> None:
    model = flash("LLaVA-1.5")
    for inputs in batches(SAMPLES["LLaVA-1.5"]).values():
        logits, steps = model(**inputs).logits, cached(model, inputs)[1]
        with attached(model, OperatorSpec(target=target_of(model))):
            assert torch.equal(model(**inputs).logits, logits)
            assert torch.equal(cached(model, inputs)[1], steps)


@pytest.mark.parametrize("name", ["prune", "prune at 0", "two at 2"])
def test_gaps_in_positions_are_no_packed_sequences(called: Counter[str], name: str) -> None:
    model, inputs = flash("LLaVA-1.5"), batches(SAMPLES["LLaVA-1.5"])["one"]
    with attached(model, specs(model)[name]), torch.no_grad():
        model(**inputs, use_cache=False)
        model(**{key: value for key, value in inputs.items() if key != "attention_mask"}, use_cache=False)
        cached(model, inputs)
    assert called["plain"]
    assert not called["varlen"]


@pytest.mark.parametrize("family", ["LLaVA-NeXT", "Qwen2.5-VL"])
def test_second_turn_after_fillers(family: str) -> None:
    sample = SAMPLES[family]
    inputs = prompts(sample, [[sample.sizes[-1]], [sample.sizes[0]], [sample.sizes[1]] * 2], (3, 6, 4))
    turn = torch.tensor([[5, 17, 60]]).expand(3, -1)
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, NEW + 3), value=1)
    found = []
    for model in (built(sample), flash(family)):
        with attached(model, specs(model)["many"]), torch.no_grad():
            first = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, return_dict_in_generate=True)
            late = torch.cat((first.sequences[:, -1:], turn), 1)  # the last token of the answer was not fed yet
            found.append(
                cached(model, {"input_ids": late, "attention_mask": mask, **with_cache(model, cache_of(first))})
            )
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], **CLOSE)


@pytest.mark.parametrize("name", ["two at 0", "image, tower, decoder"])
@torch.no_grad()
def test_direct_calls_and_the_tower(small: Any, name: str) -> None:
    image, sites = small.wider.get(name) or (None, small.sites[name])
    operator, found = small.operator(*sites, image=image), []
    for kind in ("sdpa", "flash_attention_2"):
        model = small.build()
        model.config._attn_implementation = kind
        model.model.vision_tower.config._attn_implementation = "sdpa"  # a beta in there asks for it
        x_bsd, layout = small.embed(model, small.prompts(2, (9, 5)), operator)
        with reducing(model, operator, layout):
            found.append(model.model.language_model(inputs_embeds=x_bsd, attention_mask=layout.valid_bs.long())[0])
    assert torch.allclose(found[1][layout.valid_bs], found[0][layout.valid_bs], **CLOSE)


@pytest.mark.parametrize("masked", [False, True])  # one of all ones is as good as none
def test_packed_rows_are_refused(masked: bool) -> None:
    model, inputs = flash("LLaVA-1.5"), dict(batches(SAMPLES["LLaVA-1.5"])["one"])
    length = inputs["input_ids"].shape[1]
    assert inputs["attention_mask"].all()
    if not masked:
        del inputs["attention_mask"]
    restarts = {"position_ids": torch.cat((torch.arange(length - 3), torch.arange(3)))[None]}
    with attached(model, specs(model)["prune"]):
        for packed in (restarts, {"cu_seq_lens_q": torch.tensor([0, length - 3, length], dtype=torch.int32)}):
            with pytest.raises(EosError, match="packed into one row"):
                model(**inputs, **packed)
        model(**inputs, position_ids=torch.arange(length)[None])


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache:UserWarning")
def test_calls_compiled_in_pieces_are_refused() -> None:
    """Transformers' code around the kernels breaks graphs, and one piece does not hear what another said."""
    model, row = flash("LLaVA-1.5"), torch.ones(1, 40, dtype=torch.bool)
    asks = row.clone()
    asks[:, 1:37] = False
    layout, x_bsd = Layout(torch.arange(1, 37)[None], asks, torch.tensor([39]), row), torch.randn(1, 40, 64)

    def call() -> Tensor:
        return model.model.language_model(inputs_embeds=x_bsd, use_cache=False)[0]

    torch.compiler.reset()
    with torch.no_grad(), reducing(model, specs(model)["pool"], layout):
        call()
        with pytest.raises(EosError, match="cannot be compiled like that"):
            torch.compile(call, backend="eager")()
    torch.compiler.reset()
