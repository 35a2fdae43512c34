"""Questions of the user's own, on any family: encoded as the model itself would, searched, deployed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import prefill_flops
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES, Picture, Sample, prompts
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import Workload, evaluate
from eos_platform.tasks.batch import answer_states
from eos_platform.tasks.examples import EncodedExamples, Examples
from eos_platform.tasks.prompts import Example, Prompt
from eos_platform.tasks.scenes import make_scene
from eos_platform.tasks.scenes.encode import first_questions
from eos_platform.tasks.scenes.render import render

torch.set_num_threads(1)


def ready(sample: Sample, count: int, sizes: tuple[Picture, ...], seed: int = 0) -> list[Prompt]:
    """Prompts of one picture each, of different lengths, with answers of one token or two."""
    return [
        Prompt(
            prompts(sample, [[sizes[number % len(sizes)]]], (4 + number % 3,), seed=seed + number),
            (7 + number % 5, *(11,) * (number % 2)),
            picture=number,
            skill=("odd", "even")[number % 2],
        )
        for number in range(count)
    ]


def whole_inputs(sample: Sample, prompt: Prompt) -> dict[str, Any]:
    """One prompt with its answer behind it, as the whole model takes it."""
    inputs = dict(prompt.inputs)
    answer = torch.tensor([prompt.answer])
    inputs["input_ids"] = torch.cat((inputs["input_ids"], answer), 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if sample.types:
        name = sample.types[0]
        inputs[name] = torch.cat((inputs[name], torch.full_like(answer, sample.suffix)), 1)
    return inputs


@torch.no_grad()
@pytest.mark.parametrize("family", SAMPLES)
def test_a_batch_is_what_the_model_makes_of_each_prompt(family: str) -> None:
    sample = SAMPLES[family]
    model, asked = fresh(sample), ready(sample, 5, sample.sizes)
    encoded = EncodedExamples(model, asked)
    tried = 0
    for batch in encoded.batches(3):
        state_bad = answer_states(model, batch)
        for row, number in enumerate(batch.index_b.tolist()):
            inputs = whole_inputs(sample, asked[number])
            answers = len(asked[number].answer)
            logits_av = model(**inputs).logits[0, -answers - 1 : -1]
            found_av = encoded.adapter.logits(state_bad[row, :answers])
            assert torch.allclose(found_av, logits_av, atol=2e-4, rtol=1e-4)
            assert batch.target_ba[row, :answers].tolist() == list(asked[number].answer)
            assert batch.wanted_ba[row].sum() == answers
            tried += 1
    assert tried == 5


@pytest.mark.parametrize("family", SAMPLES)
def test_a_search_on_any_family(family: str) -> None:
    sample = SAMPLES[family]
    one = sample.sizes[:1]
    subject = Examples(fresh(sample), None, {"search": ready(sample, 8, one), "validation": ready(sample, 4, one, 50)})
    config = SearchConfig(budget=0.6, steps=20, batch_size=4, search_questions=8, eval_questions=4, layers=(0, 2))
    result = search(subject, config)
    assert all(np.isfinite(value) for step in result.history for value in step.values())
    assert all(torch.isfinite(value).all() for value in result.parameters.values())
    assert (result.parameters["probe"] != 0).any()  # it learned
    assert result.compute_ratio <= 0.6
    assert result.operator.sites
    assert result.accuracy == evaluate(subject, result.operator, "validation", 4).accuracy
    inputs = prompts(sample, [[one[0]], [one[0]]], (5, 7))
    with torch.no_grad():
        whole = subject.model(**inputs).logits
        with attached(subject.model, result.operator):
            reduced = subject.model(**inputs).logits
    assert torch.isfinite(reduced).all()
    assert not torch.allclose(reduced[:, -1], whole[:, -1])


@torch.no_grad()
@pytest.mark.parametrize("family", ["LLaVA-NeXT", "Qwen2.5-VL"])
def test_pictures_of_several_sizes_are_asked_about_size_by_size(family: str) -> None:
    sample = SAMPLES[family]
    asked = ready(sample, 7, sample.sizes)
    subject = Examples(fresh(sample), None, {"search": asked})
    encoded = subject.encoded("search", 100)
    assert len(encoded.groups) == min(len(sample.sizes), 7)
    numbers = torch.cat([batch.index_b for batch in encoded.batches(2)])
    assert sorted(numbers.tolist()) == list(range(7))
    for seed in range(5):
        drawn = encoded.draw(np.random.default_rng(seed), 4)
        assert len({encoded.units[number] for number in drawn}) == 1
    site = SiteSpec(layer=1, keep=subject.target.tokens // 2, score={"norm": 1.0})
    operator = OperatorSpec(target=subject.target, sites=(site,))
    found = evaluate(subject, operator, "search", 7, batch_size=3)
    assert found.skills == tuple(prompt.skill for prompt in asked)
    for number, prompt in enumerate(asked):  # one by one, on the whole model
        inputs, answers = whole_inputs(sample, prompt), len(prompt.answer)
        labels = torch.full_like(inputs["input_ids"], -100)
        labels[:, -answers:] = inputs["input_ids"][:, -answers:]
        with attached(subject.model, operator):
            logits_av = subject.model(**inputs, labels=labels).logits[0, -answers - 1 : -1]
        assert bool(found.correct[number]) == (logits_av.argmax(-1).tolist() == list(prompt.answer))


def test_by_a_processor_the_bundled_model_answers_as_it_does_on_its_task(small: Workload) -> None:
    pictures, asked = first_questions("heldout", 40, small.config)
    images = {index: render(make_scene("heldout", index, small.config)) for index in set(pictures)}
    examples = [
        Example(images[index], one.text, " " + one.answer, one.skill)
        for index, one in zip(pictures, asked, strict=True)
    ]
    subject = Examples(small.model, small.processor, {"search": examples, "heldout": examples}, name="bundled-small")
    assert len(subject.encoded("heldout", 40).seen) == len(images)  # each picture once
    assert subject.target == small.target
    move = {"gamma": 1.0, "tau": 0.05}
    site = SiteSpec.model_validate({"layer": 0, "keep": 30, "score": {"norm": 1.0}, "transfer": move, "beta": 1.0})
    for operator in (None, OperatorSpec(target=small.target, sites=(site,))):
        found, expected = (evaluate(one, operator, "heldout", 40) for one in (subject, small))
        np.testing.assert_array_equal(found.correct, expected.correct)
        assert found.per_skill == expected.per_skill
        assert expected.correct.any()


def test_several_units_a_prompt_are_counted() -> None:
    """Two tiles cost what counting their tokens says, with an operator and without."""
    sample = SAMPLES["SmolVLM"]
    asked = [
        Prompt(prompts(sample, [[(1, 1), (1, 1)]], (5,), seed=number), (7,), picture=number) for number in range(3)
    ]
    subject = Examples(fresh(sample), None, {"search": asked, "validation": asked})
    assert (subject.target.grid, subject.shape.units) == ((4, 4), 2)
    site = SiteSpec.model_validate({"layer": 1, "keep": 4, "score": {"norm": 1.0}, "transfer": {"gamma": 1.0}})
    operator = OperatorSpec(target=subject.target, sites=(site,))
    batch = subject.encoded("search", 3).batch(torch.tensor([0]))
    prefill, adapter = batch.prefill.until(int(batch.layout.last_b[0]) + 1), subject.adapter
    counted = []
    for one in (None, operator):
        working = nullcontext() if one is None else reducing(subject.model, one, prefill.layout)
        with working, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            adapter.start(prefill)
        counted.append(counter.get_total_flops())
    text = prefill.x_bsd.shape[1] - 32
    assert subject.text_tokens == text
    said = [prefill_flops(subject.shape, text, one, 16) for one in (None, operator)]
    assert said == pytest.approx(counted, rel=0.01)


def test_what_cannot_be_asked_is_refused() -> None:
    sample = SAMPLES["LLaVA-1.5"]
    model, asked = fresh(sample), ready(sample, 2, sample.sizes)
    with pytest.raises(EosError, match="none to search on"):
        Examples(model, None, {"validation": asked})
    with pytest.raises(EosError, match=r"unknown split 'serach'.*search"):
        Examples(model, None, {"serach": asked})  # type: ignore[dict-item]
    subject = Examples(model, None, {"search": asked})
    with pytest.raises(EosError, match="none of the split 'validation', only of search"):
        subject.encoded("validation", 2)
    tower = SiteSpec(place="tower", layer=1, keep=9, score={"norm": 1.0})
    with pytest.raises(EosError, match="acts in the vision tower"):
        evaluate(subject, OperatorSpec(target=subject.target, sites=(tower,)), "search", 2)
    text = Prompt({"input_ids": torch.tensor([[1, 5, 6]]), "pixel_values": asked[0].inputs["pixel_values"]}, (7,), 0)
    with pytest.raises(EosError, match="visual tokens"):
        EncodedExamples(model, [text])
