"""The plug-in of vLLM: an operator's sites before the language model at work on the embeddings of pictures.

vLLM calls ``register`` in each of its processes (entry point ``vllm.general_plugins``); a model is served with an
operator where ``hf_overrides`` name one of ``CLASSES`` and ``eos_operator`` (``serve/arguments.py`` says how). Nothing
else of a server changes: no file of vLLM, and no other model. What is put in its place at run time has a name and the
versions it is for (``patches.py``).
"""

from __future__ import annotations

import logging

# classes of the plug-in, by the module of this package that has them
MODULES = {
    "llava": ("EosLlavaForConditionalGeneration",),
    "qwen": ("EosQwen2_5_VLForConditionalGeneration", "EosQwen3VLForConditionalGeneration"),
    "idefics": ("EosIdefics3ForConditionalGeneration", "EosSmolVLMForConditionalGeneration"),
    "anyres": ("EosLlavaNextForConditionalGeneration", "EosLlavaOnevisionForConditionalGeneration"),
    "internvl": ("EosInternVLForConditionalGeneration",),
}
CLASSES = {name: f"{__name__}.{module}:{name}" for module, names in MODULES.items() for name in names}


def register() -> None:
    """Make the classes known to vLLM, as often as it asks; a version that was never tried is refused in one line."""
    from vllm import ModelRegistry

    from eos_platform.common.errors import EosError
    from eos_platform.serve.vllm.patches import apply, check_version

    try:
        check_version()
    except EosError as error:  # other models of this server are no business of ours
        logging.getLogger("vllm.eos").error("eos: %s", error)
        return
    apply()
    known = ModelRegistry.get_supported_archs()
    for name, place in CLASSES.items():
        if name not in known:
            ModelRegistry.register_model(name, place)
