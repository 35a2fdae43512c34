"""Attaching and detaching: what is left untouched, what is refused."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from eos_platform.common.errors import EosError
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.runtime import site_step
from eos_platform.models.runtime.attach import attach, attached, attached_plan, detach
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

PRUNE = {"layer": 1, "keep": 20, "score": {"last_text": 1.0}}


def hooks(model: nn.Module) -> list[Any]:
    """Every hook on the model; transformers leaves some of its own after a first call."""
    return [
        hook
        for module in model.modules()
        for kind in (module._forward_pre_hooks, module._forward_hooks, module._forward_pre_hooks_with_kwargs)
        for hook in kind
    ]


def shape_of_state(model: nn.Module) -> list[tuple[str, list[str]]]:
    return [(name, sorted(vars(module))) for name, module in model.named_modules()]


@pytest.mark.parametrize(
    "sites", [(), ({"layer": 0, "keep": 64, "score": {"norm": 1.0}}, {"layer": 2, "keep": 64, "selector": "grid"})]
)
@pytest.mark.parametrize("kind", ["model", "eager"])
def test_identity_is_bit_for_bit(small: Any, request: pytest.FixtureRequest, kind: str, sites: Any) -> None:
    model = request.getfixturevalue(kind)
    inputs = small.prompts(2, (7, 4))
    logits = model(**inputs).logits
    tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    before = hooks(model)
    with attached(model, small.operator(*sites)):
        assert hooks(model) == before
        assert torch.equal(model(**inputs).logits, logits)
        assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), tokens)


def test_detach_restores_exactly(small: Any) -> None:
    model = small.build()
    inputs = small.prompts(2, (7, 4))
    logits, state, before = model(**inputs).logits, shape_of_state(model), hooks(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]
    forwards = [type(module).forward for module in model.modules()]
    assert attach(model, small.operator(*small.sites["many"])) is model
    assert hooks(model) != before
    assert not torch.equal(model(**inputs).logits, logits)
    model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert detach(model) is model
    assert hooks(model) == before
    assert shape_of_state(model) == state
    assert [type(module) for module in model.modules()] == classes
    assert [type(module).forward for module in model.modules()] == forwards
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model(**inputs).logits, logits)
    copy.deepcopy(model)


def test_an_error_inside_restores(small: Any, model: Any) -> None:
    before = hooks(model)
    with pytest.raises(RuntimeError, match="stop"), attached(model, small.operator(PRUNE)):
        raise RuntimeError("stop")
    assert hooks(model) == before
    with attached(model, small.operator(PRUNE)):
        pass


def test_an_error_within_a_call_leaves_no_trace_in_the_next(small: Any, model: Any) -> None:
    spec, inputs = small.operator(PRUNE), small.prompts()
    text = small.prompts(image=False)
    plain = model(**text).logits

    def fail(*_: Any) -> None:
        raise RuntimeError("broken layer")

    with attached(model, spec):
        hook = model.model.language_model.layers[3].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="broken layer"):
            model(**inputs)
        hook.remove()
        assert torch.equal(model(**text).logits, plain)


def test_an_operator_file_attaches(small: Any, model: Any, tmp_path: Path) -> None:
    spec, inputs = small.operator(PRUNE), small.prompts()
    with attached(model, spec):
        expected = model(**inputs).logits
    with attached(model, str(spec.save(tmp_path / "operator.json"))):
        assert torch.equal(model(**inputs).logits, expected)


def test_a_dropped_model_is_freed(small: Any) -> None:
    import gc
    import weakref

    model = attach(small.build(), small.operator(PRUNE))
    model(**small.prompts())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_text_passes_unchanged(small: Any, model: Any) -> None:
    inputs = small.prompts(2, (7, 4), image=False)
    logits = model(**inputs).logits
    tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    with attached(model, small.operator(*small.sites["many"])):
        model(**small.prompts())  # a prompt with an image in between leaves nothing behind
        assert torch.equal(model(**inputs).logits, logits)
        assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), tokens)


def test_the_plan_at_work_is_found_and_is_what_sites_read(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a copied model too; what is asked of each layer is what the plan says of its site."""
    model, asked = small.build(), []
    assert attached_plan(model) is None

    def spy(names: Any, layer: Any, *more: Any) -> Any:
        asked.append(set(names))
        return features(names, layer, *more)

    features = site_step.layer_features
    monkeypatch.setattr(site_step, "layer_features", spy)
    for sites in small.sites.values():
        operator = small.operator(*sites)
        attach(model, operator)
        plan = attached_plan(model)
        assert plan is not None
        assert plan.operator is operator
        copied = attached_plan(copy.deepcopy(model))
        assert (copied is None) == (not plan.by_layer)
        assert copied is None or copied.operator == operator
        asked.clear()
        model(**small.prompts())
        active = [set(planned.features) for planned in plan.decoder if planned.active]
        assert asked == [names - set(plan.tower_features) - {"relevance"} for names in active]
        detach(model)


def test_refusals(small: Any, model: Any) -> None:
    def made(layers: int, grid: tuple[int, int], *sites: SiteSpec) -> OperatorSpec:
        return OperatorSpec(name="mine", target=Target(layers=layers, grid=grid), sites=sites)

    before = hooks(model)
    with attached(model, small.operator(PRUNE)), pytest.raises(EosError, match="already attached"):
        attach(model, small.operator(PRUNE))
    with pytest.raises(EosError, match="no operator is attached"):
        detach(model)
    late = made(8, (8, 8), SiteSpec(layer=5, keep=3, score={"norm": 1.0}))
    with pytest.raises(EosError, match=r"'mine': sites\.0: layer 5 is beyond the model's last decoder layer \(3\)"):
        attach(model, late)
    with pytest.raises(EosError, match="for a 24x24 grid of visual tokens; the model has 8x8"):
        attach(model, made(4, (24, 24)))
    with pytest.raises(EosError, match="for 8 decoder layers; the model has 4"):
        attach(model, made(8, (8, 8)))
    with pytest.raises(EosError, match="not to Linear"):
        attach(nn.Linear(1, 1), made(4, (8, 8)))
    with pytest.raises(EosError, match="not found"):
        attach(model, "nowhere.json")
    assert hooks(model) == before
    inputs = small.prompts()
    two = {**inputs, "pixel_values": inputs["pixel_values"].repeat(2, 1, 1, 1)}
    with attached(model, small.operator(PRUNE)):
        with pytest.raises(ValueError, match="do not match"):  # the model itself says so
            model(**two)
        with pytest.raises(EosError, match="static caches"):
            model.generate(**inputs, max_new_tokens=2, cache_implementation="static")
    # two images in one row and none in the other: as many in all as if each held one
    uneven = small.prompts(2, (7, 7))
    uneven["input_ids"] = torch.cat(
        (torch.full((1, 128), small.image), torch.full((1, 128), 5)),
    )
    uneven["attention_mask"] = torch.ones_like(uneven["input_ids"])
    with attached(model, small.operator(PRUNE)):
        held = cache_of(model(**uneven, use_cache=True))
        assert [held.get_seq_length(layer) for layer in range(4)] == [128] * 4  # as long as the prompt that holds none


COMPILED_LATER = """
import sys
import torch
from eos_platform.models.runtime.attach import attach, detach

assert "torch._dynamo" not in sys.modules  # which comes with transformers' models
import small_llava as small
from eos_platform.operators.spec import SiteSpec

model, inputs = small.build(), small.prompts(2, (7, 4))
with torch.no_grad():
    plain = model(**inputs).logits
    merge = {"selector": "bipartite", "score": {"norm": 1.0}, "transfer": {"gamma": 1.0}}
    tower = SiteSpec(place="tower", layer=1, keep=32, **merge)
    read = SiteSpec(layer=0, keep=3, score={"vision": 1.0, "next_vision": 0.5})
    for sites in (small.SITES["prune"], [read], [tower]):
        attach(model, small.operator(*sites))
        reduced = model(**inputs).logits
        assert not torch.equal(reduced, plain)
        compiled = torch.compile(model, backend="eager")
        assert torch.allclose(compiled(**inputs).logits, reduced, atol=1e-5)
        for _ in range(2):
            detach(model)
            assert torch.allclose(compiled(**inputs).logits, plain, atol=1e-5)
            attach(model, small.operator(*sites))
            assert torch.allclose(compiled(**inputs).logits, reduced, atol=1e-5)
        detach(model)
"""


@pytest.mark.slow  # compiles a whole model fifteen times: half a minute
def test_a_compiler_that_comes_later_sees_hooks_come_and_go() -> None:
    """It takes a second to import, and is told what it must know once somebody imports it."""
    paths = [str(Path(__file__).parents[1]), *sys.path]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", COMPILED_LATER]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
