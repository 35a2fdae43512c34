"""Ways to call a model, each compared with the untouched model and with runs of the whole.

A way is a function of a model with or without operator. It says which tokens it fed behind which prompts, and which
logits foretold them. Under an operator that drops nothing this is what the untouched model says; under one that drops,
what runs of the whole without a cache say.
"""

from __future__ import annotations

from eos_platform.models.conformance.registry import Check
from eos_platform.models.conformance.ways import caches, forward, generate, turns

CHECKS: dict[str, Check] = {**forward.WAYS, **caches.WAYS, **generate.WAYS, **turns.WAYS}
