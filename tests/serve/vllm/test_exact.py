"""Operators in vLLM against the same operators attached: log-probabilities, answers, caches.

They run where vLLM is installed (``.ci/vllm.sh`` makes such an environment); elsewhere they are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed beside this package; .ci/vllm.sh makes an environment")
from random_models import MODELS, made

from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Transfer
from eos_platform.serve import sides
from eos_platform.serve.arguments import served
from eos_platform.tasks.prompts import prompt_text

pytestmark = pytest.mark.slow  # every test starts an engine, which takes half a minute on two cores

CLOSE = 1e-4
MERGE = Transfer(gamma=0.9, tau=0.05)
BLOCK = 32  # tokens of the cache that are shared or not as one


def steering(width: int) -> Steering:
    chance = torch.Generator().manual_seed(0)
    return Steering.of(*(torch.randn(4, width, generator=chance) for _ in range(2)))


def probe(width: int) -> tuple[float, ...]:
    return tuple(torch.randn(width, generator=torch.Generator().manual_seed(1)).tolist())


def sites(name: str, width: int, tokens: int) -> tuple[SiteSpec, ...]:
    keep = tokens * 2 // 5
    searched = {"layer": 0, "keep": keep, "selector": "diverse_topk", "score": {"norm": 0.3}, "probe": probe(width)}
    merged = {"transfer": MERGE, "beta": 0.9}
    if name == "steered":
        return (SiteSpec(**searched, **merged, steering=steering(width)),)
    if name == "unsteered":
        return (SiteSpec(**searched, **merged),)
    if name == "pruned":
        return (SiteSpec(**searched),)
    first = SiteSpec(layer=0, keep=keep + 20, score={"vision": 1.0}, positions="renumber", similarity="keys", **merged)
    return (first, SiteSpec(layer=0, keep=keep, selector="alternate", beta=1.0, transfer=MERGE, positions="keep"))


class Side:
    """What attaching says, found once."""

    def __init__(self, model: str, sizes: Sequence[tuple[int, int]] = (), pictures: int = 2) -> None:
        """``sizes``: of pictures, in pixels, beside those of the task; ``pictures``: most of one prompt."""
        self.attached = sides.Attached(model)
        self.width = self.attached.model.config.text_config.hidden_size
        found = self.attached.questions(30)
        asked = [*found[:8], *found[-4:]]  # several of one picture, and others
        shown = [one.images[0].resize(size) for one, size in zip(asked, sizes, strict=False)]
        other = next(one.images[0] for one in asked if one.images[0] is not asked[0].images[0])
        if pictures > 1:
            words = prompt_text(self.attached.processor, "what is there?", 2)
            asked.append(sides.Asked(words, (asked[0].images[0], shown[0] if shown else other)))
        asked += [sides.Asked(found[0].text, (image,)) for image in shown]
        self.asked = [*asked, sides.Asked(prompt_text(self.attached.processor, "what is two and two?", 0), ())]
        self.known: dict[str, list[sides.Answer]] = {}

    def operator(self, name: str) -> OperatorSpec:
        target = self.attached.target
        return OperatorSpec(name=name, target=target, sites=sites(name, self.width, target.tokens))

    def answers(self, name: str) -> list[sides.Answer]:
        if name not in self.known:
            self.known[name] = list(self.attached.answers(self.asked, self.operator(name)))
        return self.known[name]


@pytest.fixture(scope="module")
def small() -> Side:
    return Side("bundled-small")


def arguments(side: Side, name: str, folder: Any) -> Any:
    return served(side.attached.name, side.operator(name).save(folder / f"{name}.json"))


def agree(found: list[sides.Answer], wanted: list[sides.Answer]) -> None:
    assert [one.ids for one in found] == [one.ids for one in wanted]
    assert max(sides.difference(a, b) for a, b in zip(found, wanted, strict=True)) < CLOSE


@pytest.mark.parametrize("name", ["steered", "unsteered", "pruned", "two-sites"])
def test_in_pieces_with_prefixes_cached(small: Side, name: str, tmp_path: Any) -> None:
    """Questions about one picture, two pictures in a prompt, a prompt without any, at once; then all of it again."""
    with sides.engine(
        arguments(small, name, tmp_path), max_num_batched_tokens=48, max_num_seqs=8, block_size=BLOCK
    ) as llm:
        first = sides.by_engine(llm, small.asked)
        again = sides.by_engine(llm, small.asked)
    agree(first, small.answers(name))
    agree(again, small.answers(name))
    left = small.attached.target.tokens - small.operator(name).tokens_left
    for one, asked, whole in zip(first, small.asked, small.answers(name), strict=True):
        assert whole.prompt - one.prompt == left * len(asked.images)


def test_whole_prompts_without_cached_prefixes_and_samples_of_one_prompt(small: Side, tmp_path: Any) -> None:
    from vllm import SamplingParams

    found = arguments(small, "steered", tmp_path)
    with sides.engine(found, enable_prefix_caching=False, block_size=BLOCK) as llm:
        agree(sides.by_engine(llm, small.asked), small.answers("steered"))
        several = SamplingParams(n=3, temperature=1.0, top_k=1, max_tokens=sides.NEW, logprobs=sides.TOP)
        outputs = llm.generate([one.for_vllm() for one in small.asked[:3]], several, use_tqdm=False)
    for output, wanted in zip(outputs, small.answers("steered"), strict=False):
        assert {tuple(one.token_ids) for one in output.outputs} == {wanted.ids}


def test_requests_that_are_put_off_and_taken_up_again(small: Side, tmp_path: Any) -> None:
    """A cache for hardly two of them."""
    with sides.engine(
        arguments(small, "steered", tmp_path), block_size=BLOCK, num_gpu_blocks_override=9, max_model_len=224
    ) as llm:
        scheduler = llm.llm_engine.engine_core.engine_core.scheduler
        plain, put_off = scheduler._preempt_request, []
        scheduler._preempt_request = lambda *given, **more: (put_off.append(given), plain(*given, **more))[1]
        long = [replace(one) for one in small.asked[:6]]
        found = sides.by_engine(llm, long, new=60)
    assert put_off
    wanted = list(small.attached.answers(long, small.operator("steered"), new=60))
    agree(found, wanted)


def test_no_question_reads_what_another_chose(small: Side, tmp_path: Any) -> None:
    """Of one picture: the same question shares its prefix, another one that is steered nothing, unsteered the most."""
    one, other = small.asked[0], next(a for a in small.asked[1:] if a.images == small.asked[0].images)
    shared = {}
    for name in ("steered", "unsteered"):
        with sides.engine(arguments(small, name, tmp_path), block_size=BLOCK) as llm:
            ask = llm.get_default_sampling_params()
            ask.max_tokens, ask.temperature = 1, 0.0
            shared[name] = [
                llm.generate([given.for_vllm()], ask, use_tqdm=False)[0].num_cached_tokens
                for given in (one, one, other)
            ]
    assert shared["steered"][0] == 0
    assert shared["steered"][1] >= BLOCK
    assert shared["steered"][2] == 0
    assert shared["unsteered"][2] >= BLOCK


# of every further family: pictures of other sizes, most pictures of a prompt
FAMILIES: dict[str, tuple[list[tuple[int, int]], int]] = {
    "bundled-qwen": ([(224, 336), (336, 168), (420, 420), (196, 252)], 2),
    "bundled-smolvlm": ([(336, 168), (168, 336), (100, 100)], 2),
    "bundled-onevision": ([(336, 112), (112, 336), (100, 100)], 1),
    "qwen3_vl": ([(224, 336), (196, 252)], 2),
    "internvl": ([(168, 84), (84, 252)], 2),
    "llava_next": ([(84, 168), (252, 84), (100, 60)], 2),
    "smolvlm": ([(84, 168), (252, 84)], 2),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Side:
    kind = request.param
    if kind == "smolvlm":
        pytest.importorskip("num2words", reason="transformers' processor of SmolVLM needs it")
    model = str(made(kind, tmp_path_factory.mktemp(kind))) if kind in MODELS else kind
    return Side(model, *FAMILIES[kind])


@pytest.mark.parametrize("name", ["steered", "pruned"])
def test_other_families_and_pictures_of_any_size(family: Side, name: str, tmp_path: Any) -> None:
    """In pieces, with text between; then all of it again, from the caches."""
    wanted = family.answers(name)
    with sides.engine(
        arguments(family, name, tmp_path), max_num_batched_tokens=96, max_num_seqs=8, block_size=BLOCK
    ) as llm:
        first = sides.by_engine(llm, family.asked)
        agree(first, wanted)
        agree(sides.by_engine(llm, family.asked), wanted)
    assert all(one.prompt < whole.prompt for one, whole in zip(first[:-1], wanted[:-1], strict=True))
