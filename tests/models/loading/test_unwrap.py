"""Operators on models that others have wrapped: peft, torch.compile, parallel training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.costs.profiled_flops import counted_flops
from eos_platform.models.adapters.target import parts_of, target_of
from eos_platform.models.conformance.runs import CLOSE, cached, lengthened
from eos_platform.models.conformance.subjects import batches, built, fresh, specs
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.attach import attach, attached, attached_operator, detach
from eos_platform.models.vision.encoding import encode_images
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.workload import Workload

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft asks for it
Wrap = Callable[[nn.Module], Any]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A group of a single process."""
    store = torch.distributed.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def lora(model: nn.Module) -> Any:
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return peft.get_peft_model(model, config).eval()


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


def parallel(model: nn.Module) -> Any:
    return nn.parallel.DistributedDataParallel(model)


WRAPS: dict[str, list[Wrap]] = {
    "lora": [lora],
    "compiled": [compiled],
    "ddp": [parallel],
    "data parallel": [nn.DataParallel],
    "ddp of lora": [lora, parallel],
    "compiled ddp of lora": [lora, parallel, compiled],
    "average": [torch.optim.swa_utils.AveragedModel],
}


def wrapped(model: nn.Module, wraps: list[Wrap]) -> Any:
    for wrap in wraps:
        model = wrap(model)
    return model


@torch.no_grad()
def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    found: Tensor = model(**inputs).logits
    return found


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "name",
    # each of these is compiled seven times
    [pytest.param(name, marks=[pytest.mark.slow] if compiled in wraps else []) for name, wraps in WRAPS.items()],
)
@pytest.mark.parametrize("family", ["LLaVA-1.5", "Qwen2.5-VL"])
def test_a_wrapper_is_attached_to_as_the_model_inside(family: str, name: str) -> None:
    sample = SAMPLES[family]
    wrapper = wrapped(fresh(sample), WRAPS[name])
    wrapper.requires_grad_(False)
    inner, inputs = unwrapped(wrapper), batches(sample)["padded"]
    assert type(inner) is type(built(sample))
    operator, labelled = specs(inner)["many"], lengthened(sample, inputs, torch.tensor([[5, 6], [7, 8]]))
    untouched = logits(inner, inputs)
    with attached(inner, operator):
        expected, scored, tokens = logits(inner, inputs), logits(inner, labelled), cached(inner, inputs)
    assert not torch.allclose(expected, untouched, **CLOSE)
    assert torch.allclose(logits(wrapper, inputs), untouched, **CLOSE)  # and compiled, where it is, without operator

    assert attach(wrapper, operator) is wrapper
    assert attached_operator(wrapper) == attached_operator(inner) == operator
    assert torch.allclose(logits(wrapper, inputs), expected, **CLOSE)
    assert torch.allclose(logits(wrapper, labelled), scored, **CLOSE)
    if hasattr(wrapper, "generate"):
        assert torch.equal(cached(wrapper, inputs)[0], tokens[0])
    for one in (wrapper, inner):
        with pytest.raises(EosError, match="already attached"):
            attach(one, operator)
    assert detach(wrapper) is wrapper
    assert attached_operator(inner) is None
    for one in (wrapper, inner):
        with pytest.raises(EosError, match="no operator"):
            detach(one)
    assert torch.allclose(logits(wrapper, inputs), untouched, **CLOSE)

    attach(inner, operator)
    assert attached_operator(wrapper) == operator
    assert torch.allclose(logits(wrapper, inputs), expected, **CLOSE)
    detach(wrapper)
    with attached(wrapper, operator):
        assert torch.allclose(logits(wrapper, inputs), expected, **CLOSE)
    assert torch.allclose(logits(wrapper, inputs), untouched, **CLOSE)
    torch.compiler.reset()


@pytest.mark.slow  # four compilations
def test_compiled_in_place() -> None:
    """``model.compile()``: a call before the operator comes, one with it, one after it went."""
    sample = SAMPLES["SmolVLM"]
    model, inputs = fresh(sample), batches(sample)["one"]
    untouched = logits(model, inputs)
    with attached(model, specs(model)["many"]):
        expected = logits(model, inputs)
    model.compile(backend="eager")
    for _ in range(2):
        assert torch.allclose(logits(model, inputs), untouched, **CLOSE)
        with attached(model, specs(model)["many"]):
            assert torch.allclose(logits(model, inputs), expected, **CLOSE)
    torch.compiler.reset()


def test_what_is_compiled_sees_hooks_come_and_go() -> None:
    """By default, those of the first call are taken for all there will ever be."""
    module = nn.Sequential(nn.Identity())
    run, x = torch.compile(module, backend="eager"), torch.ones(2)
    for _ in range(2):
        assert run(x).tolist() == [1, 1]
        hook = module[0].register_forward_pre_hook(lambda _, args: (args[0] * 2,))
        assert run(x).tolist() == [2, 2]
        hook.remove()
    torch.compiler.reset()


@pytest.mark.usefixtures("one_process")
def test_copied_wrappers_take_the_operator_along() -> None:
    model = lora(fresh(SAMPLES["LLaVA-1.5"]))
    operator = specs(unwrapped(model))["many"]
    other = copy.deepcopy(attach(model, operator))
    detach(model)
    assert attached_operator(other) == operator
    assert attached_operator(detach(other)) is None


def test_what_else_is_told_a_wrapper() -> None:
    """Search, evaluation, counting."""
    small = load_workload("bundled-small", device="cpu")
    plain = small.model
    tuned = lora(copy.deepcopy(plain))
    assert target_of(tuned) == target_of(plain)
    assert parts_of(nn.DataParallel(plain)).layers == parts_of(plain).layers
    workload = Workload("mine", "scenes", nn.DataParallel(tuned), small.processor, small.config)
    assert workload.model is unwrapped(tuned)
    assert workload.target.layers == small.target.layers
    assert workload.shape == small.shape
    assert 0 <= evaluate(workload, None, "validation", 8).accuracy <= 1
    wrapped_, pixels = nn.DataParallel(plain), torch.rand(1, 3, *[plain.config.vision_config.image_size] * 2)
    with torch.no_grad():
        assert torch.equal(encode_images(wrapped_, pixels)[0], encode_images(plain, pixels)[0])
    assert counted_flops(wrapped_, None, 8) == counted_flops(plain, None, 8)


def test_a_wrapper_of_ones_own_is_told_what_it_holds(tmp_path: Path) -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Sequential(fresh(SAMPLES["Gemma 3"]))

    mine = Mine()
    with pytest.raises(EosError, match=r"Mine holds a Gemma3ForConditionalGeneration as '\.inside\.0'"):
        attach(mine, specs(mine.inside[0])["many"])
    with pytest.raises(EosError, match=r"operators attach to .*not to Linear"):
        attach(nn.Linear(2, 2), specs(mine.inside[0])["many"])
    for odd in (None, "model", {"module": 1}):
        with pytest.raises(EosError, match="operators attach to"):
            attach(odd, specs(mine.inside[0])["many"])
