"""Sites inside the language model in vLLM's CPU engine, against the same operators attached: answers and their
log-probabilities over prefill and decoding, several prompts at once, two pictures in one, requests put off."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed beside this package; .ci/vllm.sh makes an environment")
from test_exact import BLOCK, MERGE, Side, agree, probe, steering

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.serve import sides
from eos_platform.serve.arguments import served

pytestmark = pytest.mark.slow  # every test starts an engine, which takes half a minute on two cores


@pytest.fixture(scope="module")
def small() -> Side:
    return Side("bundled-small")


def operator(side: Side, name: str) -> OperatorSpec:
    width = side.width
    learned = {"selector": "diverse_topk", "probe": probe(width), "transfer": MERGE, "beta": 0.9}
    text = {"score": {"last_text": 1.0, "mean_text": 0.5, "vision": 0.7, "norm": 0.2}, "transfer": MERGE, "beta": 0.8}
    sites = {
        "grid": (SiteSpec(layer=3, keep=36, selector="grid"),),
        # as a search by default has them
        "searched": (
            SiteSpec(layer=0, keep=80, score={"norm": 0.3}, steering=steering(width), **learned),
            SiteSpec(layer=4, keep=30, probe=probe(width), steering=steering(width), **text),
        ),
        "three-layers": (
            SiteSpec(layer=1, keep=100, score={"uniqueness": 1.0}, **learned),
            SiteSpec(layer=3, keep=60, **text),
            SiteSpec(layer=5, keep=30, selector="alternate", transfer=MERGE, beta=1.0),
        ),
    }[name]
    return OperatorSpec(name=name, target=side.attached.target, sites=sites)


def arguments(side: Side, name: str, folder: Any) -> Any:
    return served(side.attached.name, operator(side, name).save(folder / f"{name}.json"), inside=True)


@pytest.mark.parametrize("name", ["grid", "searched", "three-layers"])
def test_rows_leave_before_later_layers(small: Side, name: str, tmp_path: Any) -> None:
    """Questions about one picture, two pictures in a prompt, a prompt without any, at once."""
    wanted = list(small.attached.answers(small.asked, operator(small, name)))
    with sides.engine(arguments(small, name, tmp_path), max_num_seqs=8, block_size=BLOCK) as llm:
        agree(sides.by_engine(llm, small.asked), wanted)


def test_requests_that_are_put_off_begin_again_with_their_own_choice(small: Side, tmp_path: Any) -> None:
    """A cache for hardly two, beside one for all: what was written already is not taken for a question."""
    from vllm import SamplingParams

    longer = SamplingParams(temperature=0, max_tokens=40, logprobs=sides.TOP, ignore_eos=True)
    found, put_off = [], []
    for blocks in (9, 200):
        with sides.engine(
            arguments(small, "searched", tmp_path), block_size=BLOCK, num_gpu_blocks_override=blocks, max_model_len=224
        ) as llm:
            scheduler = llm.llm_engine.engine_core.engine_core.scheduler
            plain, count = scheduler._preempt_request, []
            scheduler._preempt_request = lambda *a, plain=plain, n=count, **k: (n.append(a), plain(*a, **k))[1]
            outputs = llm.generate([one.for_vllm() for one in small.asked[:6]], longer, use_tqdm=False)
        found.append([sides.answer_of(one) for one in outputs])
        put_off.append(len(count))
    assert put_off[0] > 0 == put_off[1]
    agree(*found)


def test_slots_in_the_metadata_alone_are_not_read(small: Side, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why decoding was off while the first token was right: where keys are written is told by the forward context."""
    from eos_platform.serve.vllm.inside import Inside

    plain = Inside._tell_layers

    def in_the_metadata_alone(self: Any, layer: int, context: Any) -> None:
        before = dict(context.slot_mapping)
        plain(self, layer, context)
        context.slot_mapping.update(before)

    monkeypatch.setattr(Inside, "_tell_layers", in_the_metadata_alone)
    asked = small.asked[:6]
    with sides.engine(arguments(small, "grid", tmp_path), max_num_seqs=1, block_size=BLOCK) as llm:
        found = sides.by_engine(llm, asked)
    wanted = list(small.attached.answers(asked, operator(small, "grid")))
    steps = [
        [
            max(abs(a[key] - b[key]) for key in a.keys() & b.keys())
            for a, b in zip(one.logprobs, other.logprobs, strict=False)
        ]
        for one, other in zip(found, wanted, strict=True)
    ]
    assert max(one[0] for one in steps) < 1e-4
    assert max(one[1] for one in steps) > 0.1


def test_a_prompt_in_pieces_is_refused(small: Side, tmp_path: Any) -> None:
    made = arguments(small, "grid", tmp_path)
    assert made.arguments["enable_chunked_prefill"] is False
    with (
        pytest.raises(EosError, match="chunked prefill"),
        sides.engine(made, enable_chunked_prefill=True, max_num_batched_tokens=96, block_size=BLOCK) as llm,
    ):
        sides.by_engine(llm, small.asked[:1])
