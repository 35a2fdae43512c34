"""With which arguments an engine serves a model with an operator: for ``vllm serve``, and for ``vllm.LLM``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_regular
from eos_platform.models.adapters import family_of_type
from eos_platform.models.adapters.target import REMEDY
from eos_platform.models.loading.opening import opening, place_of
from eos_platform.models.loading.pretrained import load
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec
from eos_platform.serve.plan import LayerZero, ServingPlan, digest
from eos_platform.serve.torchvision_ops import install


class Engine(NamedTuple):
    """How a family is served.

    Attributes:
        architecture: the class of the plug-in.
        limits: of a prompt's items, by kind, where not everything the engine takes is served.
    """

    architecture: str
    limits: Mapping[str, int] = {}


# by the model type of a configuration
FAMILIES: Mapping[str, Engine] = {
    "llava": Engine("EosLlavaForConditionalGeneration"),
    "qwen2_5_vl": Engine("EosQwen2_5_VLForConditionalGeneration", {"video": 0}),
    "qwen3_vl": Engine("EosQwen3VLForConditionalGeneration", {"video": 0}),
    "idefics3": Engine("EosIdefics3ForConditionalGeneration"),
    "smolvlm": Engine("EosSmolVLMForConditionalGeneration"),
    "llava_next": Engine("EosLlavaNextForConditionalGeneration"),
    # vLLM cuts every picture into tiles, transformers only one that is alone in its prompt
    "llava_onevision": Engine("EosLlavaOnevisionForConditionalGeneration", {"image": 1, "video": 0}),
    "internvl": Engine("EosInternVLForConditionalGeneration", {"video": 0}),
}
INSIDE = ("llava",)  # model types whose sites inside the language model are served
# known to the engine, and not served
REFUSED: Mapping[str, str] = dict.fromkeys(
    ("gemma3", "paligemma"),
    "tokens of a picture attend to each other in both directions, which the engine's attention on CPUs does not do, and"
    " GPUs were never tried",
)


@dataclass(frozen=True)
class Served:
    """A model as it is served.

    Attributes:
        folder: of the model.
        arguments: of ``vllm.LLM``, by name.
    """

    folder: Path
    arguments: Mapping[str, Any]

    def command(self, more: tuple[str, ...] = ()) -> list[str]:
        """The same as a command of a shell, word by word.

        Args:
            more: arguments of ``vllm serve`` that somebody added.
        """
        words = ["vllm", "serve", str(self.folder)]
        for name, value in self.arguments.items():
            option = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                words.append(option if value else f"--no-{option[2:]}")
            else:
                words += [option, strict_json.dumps(value) if isinstance(value, dict) else str(value)]
        return [*words, *more]

    def line(self, more: tuple[str, ...] = ()) -> str:
        """The command, quoted for a shell."""
        return shlex.join(self.command(more))


def served(
    model: str | Path, operator: str | Path | None, *, approximate: bool = False, inside: bool = False
) -> Served:
    """A model with an operator, as vLLM serves it.

    Args:
        model: a bundled model's name, or a folder.
        operator: its file, which must stay where it is while the engine runs; None: the unreduced model, with what the
            bundled models need.
        approximate: whether sites inside the language model may be left out.
        inside: whether they may be served, by engines and families that this was tried with.

    Raises:
        EosError: no family that is served, an operator of another model, or one that cannot be served.
    """
    install()  # in an environment of vLLM, transformers may need it
    with opening(model) as folder:
        from transformers import AutoConfig

        config = load(AutoConfig, folder)
    folder = place_of(model).resolve()
    kind = str(config.model_type)
    if kind in REFUSED:
        raise EosError(f"model '{model}' ({kind}) is not served in vLLM: {REFUSED[kind]}")
    if kind not in FAMILIES:
        raise EosError(f"model '{model}' ({kind}): served in vLLM are {', '.join(FAMILIES)}")
    overrides: dict[str, Any] = {"architectures": [FAMILIES[kind].architecture]}
    if (tied := bool(getattr(config, "tie_word_embeddings", False))) != bool(config.text_config.tie_word_embeddings):
        # transformers asks the whole model's configuration, vLLM its language model's
        overrides["text_config"] = {"tie_word_embeddings": tied}
    arguments: dict[str, Any] = {"hf_overrides": overrides}
    if operator is None:
        return Served(folder, arguments)
    path = check_regular(Path(operator), "operator file").resolve()
    whole = OperatorSpec.load(path)
    spec = ServingPlan.of(whole, inside=inside).taken(approximate)
    _check_model(spec, config)
    later = any(layer > 0 for layer in OperatorPlan.of(spec).by_layer)
    if later and kind not in INSIDE:
        raise EosError(f"model '{model}' ({kind}): sites inside the language model are served of {', '.join(INSIDE)}")
    act = LayerZero.of(OperatorPlan.of(spec))
    overrides |= {"eos_operator": str(path), "eos_digest": digest(whole), "eos_approximate": approximate}
    # what changes while the engine runs (biases of this step's tokens) is no constant of a compiled graph
    arguments["enforce_eager"] = True
    if later:
        overrides["eos_inside"] = True
        # a cached prefix, or a piece of a prompt, lacks what decides there
        arguments |= {"enable_prefix_caching": False, "enable_chunked_prefill": False}
    several_axes = family_of_type(kind).axes > 1  # type: ignore[union-attr]
    if act.keeps_positions or several_axes:
        arguments["video_pruning_rate"] = 0.5  # any rate: with it positions are asked for once pictures were seen
        if not several_axes:
            overrides.setdefault("text_config", {})["rope_parameters"] = _several_axes(config.text_config)
    if FAMILIES[kind].limits:
        arguments["limit_mm_per_prompt"] = dict(FAMILIES[kind].limits)
    if act.reads_text:
        arguments["mm_processor_cache_gb"] = 0  # goes by the picture alone
    return Served(folder, arguments)


def _several_axes(text: Any) -> dict[str, Any]:
    """Rotary embeddings of one axis said as of three, which vLLM then has two more copies of."""
    rope = dict(getattr(text, "rope_parameters", None) or {})
    if not rope:
        rope = {"rope_type": "default", "rope_theta": getattr(text, "rope_theta", 10000.0)}
    if rope.get("rope_type", "default") != "default":
        raise EosError(f"kept positions are served with plain rotary embeddings, not '{rope['rope_type']}'")
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return {**rope, "mrope_section": [width // 2, 0, 0]}


def _check_model(operator: OperatorSpec, config: Any) -> None:
    """Refuse an operator of another model, as attaching it would (``adapters/target.py``)."""
    family, where = family_of_type(str(config.model_type)), f"operator '{operator.name}'"
    assert family is not None
    layers, width = config.text_config.num_hidden_layers, config.text_config.hidden_size
    grid, plan = family.grid(config), OperatorPlan.of(operator)
    if operator.target.grid != grid and not family.varies:
        made, has = ("x".join(map(str, one)) for one in (operator.target.grid, grid))
        raise EosError(f"{where} is for a {made} grid of visual tokens; the model has {has}{REMEDY}")
    if operator.target.layers != layers:
        raise EosError(f"{where} is for {operator.target.layers} decoder layers; the model has {layers}{REMEDY}")
    for number, site in enumerate(operator.sites):
        if site.probe and len(site.probe) != width:
            raise EosError(f"{where}: sites.{number}: a probe of {len(site.probe)} numbers; tokens have {width}")
        if family.axes > 1 and site.positions == "renumber":
            raise EosError(f"{where}: positions of several axes ({family.name}) are kept; 'renumber' cannot be")
    if plan.tower_features and not family.reads_tower:
        raise EosError(f"{where}: {', '.join(sorted(plan.tower_features))}: not for {family.name}")
