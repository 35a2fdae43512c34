"""What tracking needs to know of a trial: plain data, so that it need not know Optuna or Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eos_platform.common import strict_json
from eos_platform.operators.spec import INFINITE

State = Literal["running", "complete", "pruned", "failed", "interrupted"]


@dataclass(frozen=True)
class TrialRow:
    """One trial as the study's store has it."""

    number: int
    state: State
    ray_id: str = ""
    retry_of: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # of the search, fixed ones included
    measured: Mapping[str, float] = field(default_factory=dict)
    operator: str | None = None  # JSON
    regime: str | None = None
    failure: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)  # tags under eos.: why it stopped, what it violates


def operator_digest(text: str) -> str:
    """A short fingerprint of an operator's JSON, whatever the order and spacing of it."""
    found = strict_json.loads(text, infinity=INFINITE)
    return hashlib.sha256(strict_json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
