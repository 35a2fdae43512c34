"""Ways to call ``generate``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.models.conformance.runs import NEW
from eos_platform.models.conformance.ways.compare import CallOutput, Case, Ways, whole
from eos_platform.models.decoding.cache import cache_of

WAYS = Ways()


def generated(case: Case, inputs: dict[str, Any], given: dict[str, Any] | None = None, **more: Any) -> CallOutput:
    """What ``generate`` says of its own tokens.

    Args:
        case: the model.
        inputs: the prompts.
        given: what the model is given for them, if that is something else.
        more: settings.
    """
    settings = {"max_new_tokens": NEW, "do_sample": False, **more}
    outputs = case.model.generate(
        **(inputs if given is None else given), **settings, return_dict_in_generate=True, output_logits=True
    )
    logits = torch.stack(outputs.logits, 1)
    return CallOutput(inputs, outputs.sequences[:, -logits.shape[1] :], logits)


@WAYS.way("generate")
def plain(case: Case) -> CallOutput:
    return generated(case, case.two())


@WAYS.way("generate without mask")
def without_mask(case: Case) -> CallOutput:
    inputs = case.one()
    return generated(case, inputs, {name: value for name, value in inputs.items() if name != "attention_mask"})


@WAYS.way("generate without cache")
def without_cache(case: Case) -> CallOutput:
    return generated(case, case.two(), use_cache=False)


@WAYS.way("generate without cache, several returned")
def without_cache_several(case: Case) -> CallOutput:
    torch.manual_seed(1)
    inputs = case.one()
    output = generated(case, inputs, use_cache=False, do_sample=True, top_k=10, num_return_sequences=2)
    return CallOutput(_twice(inputs, 2), output.new_bt, output.logits_btv)


def _twice(inputs: dict[str, Any], times: int) -> dict[str, Any]:
    return {name: torch.cat([tensor] * times) for name, tensor in inputs.items()}


@WAYS.way("generate one token")
def one_token(case: Case) -> CallOutput:
    return generated(case, case.two(), max_new_tokens=1)


@WAYS.way("generate into an empty cache")
def own_cache(case: Case) -> CallOutput:
    from transformers.cache_utils import DynamicCache

    return generated(case, case.two(), past_key_values=DynamicCache(config=case.model.config))


@WAYS.way("generate into a cache that was reset")
def reset_cache(case: Case) -> CallOutput:
    from transformers.cache_utils import DynamicCache

    inputs, cache = case.two(), DynamicCache()
    case.model.generate(**inputs, max_new_tokens=2, cache=cache)
    cache.reset()
    return generated(case, inputs, cache=cache)


class _Streamer(list[int]):
    """A streamer that keeps what it is told."""

    def put(self, ids: Tensor) -> None:
        self.extend(ids.flatten().tolist())

    def end(self) -> None:
        """Nothing more comes."""


@WAYS.way("generate to a streamer")
def streamed(case: Case) -> CallOutput:
    streamer = _Streamer()
    output = generated(case, case.one(), streamer=streamer)
    assert streamer[-NEW:] == output.new_bt[0].tolist()
    return output


@WAYS.way("generate samples, several returned")
def sampled(case: Case) -> CallOutput:
    torch.manual_seed(1)
    inputs = case.one()
    output = generated(case, inputs, do_sample=True, top_k=10, num_return_sequences=3)
    return CallOutput(_twice(inputs, 3), output.new_bt, output.logits_btv)


def beams(case: Case) -> CallOutput:
    inputs = case.two()
    best = case.model.generate(
        **inputs,
        max_new_tokens=NEW,
        num_beams=3,
        do_sample=False,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    return CallOutput(inputs, best.sequences[:, -NEW:], best.sequences_scores[:, None, None])


def _scored(case: Case, output: CallOutput) -> Tensor:
    chance = whole(case, output).log_softmax(-1).gather(2, output.new_bt[:, :, None])
    return chance.sum((1, 2))[:, None, None]


WAYS.way("generate by beams", reference=_scored, close={"atol": 2e-3, "rtol": 1e-3})(beams)
WAYS.way("generate by beams, without cache", reference=_scored, close={"atol": 2e-3, "rtol": 1e-3})(
    lambda case: beams(Case(case.sample, _Uncached(case.model), case.operator))
)


class _Uncached:
    """A model whose ``generate`` uses no cache."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def generate(self, **given: Any) -> Any:
        """As the model does."""
        return self.model.generate(**given, use_cache=False)


@WAYS.way("generate with drafts from the prompt")
def looked_up(case: Case) -> CallOutput:
    return generated(case, case.one(), prompt_lookup_num_tokens=3, max_new_tokens=2 * NEW)


@WAYS.way("generate with an assistant")
def assisted(case: Case) -> CallOutput:
    from eos_platform.models.conformance.subjects import fresh

    helper = fresh(case.sample)
    return generated(case, case.one(), assistant_model=helper, max_new_tokens=2 * NEW)


LATER = 2  # tokens of the prompt in a second chunk


def _of_the_first(case: Case, output: CallOutput) -> Tensor:
    """Of a prompt in pieces the first piece decides."""
    inputs = dict(output.inputs)
    for name in ("input_ids", "attention_mask", *(case.sample.types or ())[:1]):
        inputs[name] = inputs[name][:, :-LATER]
    new_bt = torch.cat((output.inputs["input_ids"][:, -LATER:], output.new_bt), 1)
    return whole(case, CallOutput(inputs, new_bt, output.logits_btv))[:, LATER:]


@WAYS.way("generate in chunks", reference=_of_the_first)
def chunked(case: Case) -> CallOutput:
    inputs = case.one()
    return generated(case, inputs, prefill_chunk_size=inputs["input_ids"].shape[1] - LATER)


@WAYS.way("generate in chunks that part an image (refused)", may_refuse="fed in chunks")
def parted(case: Case) -> CallOutput:
    return generated(case, case.one(), prefill_chunk_size=7)


@WAYS.way("generate in one chunk")
def one_chunk(case: Case) -> CallOutput:
    return generated(case, case.one(), prefill_chunk_size=1000)


@WAYS.way("generate in one chunk, several images", may_refuse="any size only one")
def one_chunk_of_several(case: Case) -> CallOutput:
    return generated(case, case.two(), prefill_chunk_size=1000)


@WAYS.way("generate, dynamic cache by name")
def dynamic(case: Case) -> CallOutput:
    return generated(case, case.two(), cache_implementation="dynamic")


@WAYS.way("generate, static cache (refused)", may_refuse="static caches")
def static(case: Case) -> CallOutput:
    return generated(case, case.two(), cache_implementation="static", disable_compile=True)


EIGHT: dict[str, Any] = {"cache_implementation": "quantized", "cache_config": {"backend": "fp8"}}


@WAYS.way("generate, quantized cache (8 bits)", close={"atol": 0.5, "rtol": 0.2})
def quantized(case: Case) -> CallOutput:
    return generated(case, case.two(), **EIGHT)


@WAYS.way("generate by beams, quantized cache (8 bits)", reference=_scored, close={"atol": 1.0, "rtol": 0.2})
def quantized_beams(case: Case) -> CallOutput:
    outputs = case.model.generate(
        **case.two(),
        max_new_tokens=NEW,
        num_beams=2,
        do_sample=False,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
        **EIGHT,
    )
    return CallOutput(case.two(), outputs.sequences[:, -NEW:], outputs.sequences_scores[:, None, None])


@WAYS.way("generate from embeddings")
def embedded(case: Case) -> CallOutput:
    inputs = case.two()
    given = dict(inputs)
    given["inputs_embeds"] = case.model.get_input_embeddings()(given.pop("input_ids"))
    return generated(case, inputs, given)


@WAYS.way("generate, hidden states and attentions", attention="eager")
def insides(case: Case) -> CallOutput:
    return generated(case, case.two(), output_hidden_states=True, output_attentions=True)


@WAYS.way("generate, prompts of other numbers of images")
def others(case: Case) -> CallOutput:
    from eos_platform.models.conformance.subjects import batches

    return generated(case, batches(case.sample)["several"])


@WAYS.way("generate token by token from its cache")
def resumed(case: Case) -> CallOutput:
    inputs = case.two()
    first = case.model.generate(**inputs, max_new_tokens=1, do_sample=False, return_dict_in_generate=True,
                                output_logits=True)  # fmt: skip
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
    more = {"input_ids": first.sequences, "attention_mask": mask, "cache": cache_of(first)}
    output = generated(case, inputs, more, max_new_tokens=NEW - 1)
    new_bt = torch.cat((first.sequences[:, -1:], output.new_bt), 1)
    return CallOutput(inputs, new_bt, torch.cat((first.logits[0][:, None], output.logits_btv), 1))
