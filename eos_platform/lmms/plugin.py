"""The entry point ``lmms_eval.models``: lmms-eval finds the model ``eos`` by it."""

from __future__ import annotations

from typing import Any


def manifests() -> Any:
    """What lmms-eval is told of the model ``eos``: its simple and its chat class."""
    from lmms_eval.models.registry_v2 import ModelManifest

    where = "eos_platform.lmms.lmms_model"
    return [ModelManifest(model_id="eos", simple_class_path=f"{where}.EosSimple", chat_class_path=f"{where}.EosChat")]
