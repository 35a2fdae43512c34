"""How a way to call a model is compared, on one family.

Legend: b batch, t new tokens, v vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.operators import gentle
from eos_platform.models.conformance.registry import Check
from eos_platform.models.conformance.runs import CLOSE, uncached
from eos_platform.models.conformance.subjects import built, specs
from eos_platform.models.conformance.zoo import Sample, prompts
from eos_platform.models.runtime.attach import attached

REAL = "merge at 0", "two at 2"
TURN = (5, 17, 60)  # an answer, where it does not matter what it says


@dataclass
class CallOutput:
    """Tokens behind prompts, and the logits that foretold them."""

    inputs: dict[str, Any]
    new_bt: Tensor
    logits_btv: Tensor


@dataclass
class Case:
    """A model to call, with or without operator."""

    sample: Sample
    model: Any
    operator: str = ""  # by name; none, or one that drops nothing

    def one(self) -> dict[str, Any]:
        """A prompt with one picture."""
        return prompts(self.sample, [[self.sample.sizes[0]]])

    def two(self) -> dict[str, Any]:
        """Two of them of different length, padded on the left."""
        return prompts(self.sample, [[self.sample.sizes[0]], [self.sample.sizes[-1]]], (3, 6))

    def answer(self, rows: int) -> Tensor:
        """An answer to each prompt (b, t)."""
        return torch.tensor(TURN) + torch.arange(rows)[:, None]


_RUNS: dict[tuple[Any, ...], Tensor] = {}
Way = Callable[[Case], CallOutput]
Reference = Callable[[Case, CallOutput], Tensor]


def whole(case: Case, output: CallOutput) -> Tensor:
    """The logits that runs of the whole give (b, t, v); most ways ask for the same ones."""
    ids = output.inputs["input_ids"]
    key = case.sample.name, case.operator, str(ids.tolist()), str(output.new_bt.tolist()), case.model.training
    if key not in _RUNS:
        _RUNS[key] = uncached(case.model, case.sample, output.inputs, output.new_bt)
    return _RUNS[key]


class Ways(dict[str, Check]):
    """Ways to call a model as checks: how many operators each was compared under."""

    def way(
        self,
        name: str,
        *,
        attention: str = "sdpa",
        grad: bool = False,
        close: dict[str, Any] | None = None,
        reference: Reference = whole,
        may_refuse: str = "",
        real: tuple[str, ...] = REAL,
    ) -> Callable[[Way], Way]:
        """Make a way one of them.

        Args:
            name: of its line in the matrix.
            attention: of the model.
            grad: whether to record gradients.
            close: tolerances; by default the suite's.
            reference: what operators that drop are compared with.
            may_refuse: words of the error by which such operators may refuse it; empty: never.
            real: their names.
        """

        def named(way: Way) -> Way:
            def check(sample: Sample) -> int:
                with torch.set_grad_enabled(grad), warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # names that transformers means to drop still work
                    return _compare(sample, way, attention, close or CLOSE, reference, may_refuse, real)

            self[f"call: {name}"] = check
            return way

        return named


def _compare(
    sample: Sample,
    way: Way,
    attention: str,
    close: dict[str, Any],
    reference: Reference,
    may_refuse: str,
    real: tuple[str, ...],
) -> int:
    model = built(sample, attention)
    untouched = Case(sample, model)
    try:
        expected = way(untouched)
    except Exception:  # whatever a family raises, it is not called that way
        return 0
    same = torch.allclose(expected.logits_btv, reference(untouched, expected), **close)
    tried = 0
    for name, operator in {"": gentle(target_of(model)), **specs(model)}.items():
        if name and name not in real:
            continue
        with attached(model, operator):
            case = Case(sample, model, operator=name)
            try:
                output = way(case)
            except EosError as error:
                if not may_refuse or may_refuse not in str(error):
                    raise
                tried += 1
                continue
            if not name:
                assert torch.equal(output.new_bt, expected.new_bt), "identity: other tokens"
                assert torch.allclose(output.logits_btv, expected.logits_btv, **close), "identity: other logits"
            elif same:  # else the untouched model itself is not the same with and without cache
                right = reference(case, output)
                assert torch.allclose(output.logits_btv, right, **close), f"{name}: {_off(output.logits_btv, right)}"
        tried += 1
    return tried


def _off(outputs: Tensor, right: Tensor) -> str:
    return f"logits off by {float((outputs - right).abs().max()):.3g}"
