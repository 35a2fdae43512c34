"""What a vision tower's attention says of the visual tokens where no class token looks at them: read, nothing changed.

Hooks on the tower and on the attention of its last block. Patches become visual tokens by the family's own rule, and
what they receive is averaged over those that one visual token is made of.
"""

from __future__ import annotations

import threading
from typing import Any

from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.hooks import before
from eos_platform.models.runtime.layout import VisionFeatures


class _Local(threading.local):
    """What one thread is in the middle of."""

    vision_features: VisionFeatures | None = None
    call: dict[str, Any] | None = None


class Patches:
    """Hooks on one vision tower that is not reached into otherwise."""

    def __init__(self, parts: Parts) -> None:
        """``parts``: of a model whose family says where its tower's attention is."""
        self.parts = parts
        self._local = _Local()
        assert parts.family is not None
        attention = parts.family.tower_attention(parts)
        assert attention is not None, "an operator that reads it is refused before"
        self._hooks: list[Any] = [before(parts.tower, self._begin, False), before(attention, self._read, False)]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _local=_Local())

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    @property
    def vision_features(self) -> VisionFeatures | None:
        """What this thread's latest pictures gave."""
        return self._local.vision_features

    def _begin(self, module: Any, call: dict[str, Any]) -> None:
        self._local.call = dict(call)

    def _read(self, module: Any, call: dict[str, Any]) -> None:
        local, family = self._local, self.parts.family
        assert family is not None
        assert local.call is not None
        found = family.received(self.parts, module, call, local.call)
        local.vision_features = VisionFeatures(pictures={"received": found})
        local.call = None
