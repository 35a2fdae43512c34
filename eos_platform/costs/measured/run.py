"""A model at work on typical prompts, as costs measure it: eager, or captured as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError
from eos_platform.costs.device.capture import captured
from eos_platform.costs.prefill_time import median_ms
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext

Work = Callable[[], Any]


@contextmanager
def prefilling(name: str, context: CostContext, operator: OperatorSpec | None) -> Iterator[Work]:
    """While it holds, calling what it gives is one prefill of the setting's batch: (logits, cache).

    Args:
        name: of the cost, for the error.

    Raises:
        EosError: there is no model, or the setting's mode is none it can be run in here.
    """
    model = model_of(name, context)
    assert context.prompts is not None
    prompts, adapter = context.prompts(operator, context.setting.batch), adapter_of(model)
    with torch.no_grad(), reducing(model, operator, prompts.layout) if operator else nullcontext():
        yield lambda: adapter.start(prompts)


@contextmanager
def decoding(name: str, context: CostContext, operator: OperatorSpec | None) -> Iterator[Work]:
    """While it holds, calling what it gives is one decoding step of the setting's batch after a prefill.

    Raises:
        EosError: see ``prefilling``.
    """
    with prefilling(name, context, operator) as prefill:
        assert context.prompts is not None
        last = context.prompts(operator, context.setting.batch).x_bsd[:, -1:]
        cache, adapter = prefill()[1], adapter_of(context.model)
        yield lambda: adapter.step(last, cache)


def milliseconds(work: Work, context: CostContext) -> float:
    """Median milliseconds of ``work`` in the setting's mode.

    Raises:
        EosError: it cannot be captured.
    """
    device = context.model.device
    if context.setting.mode == "captured":
        try:
            work = captured(work)
        except RuntimeError as error:
            raise EosError(f"mode captured: not as a CUDA graph: {error_text(error)}") from None
    return median_ms(work, device)


def seeing_ms(name: str, context: CostContext, operator: OperatorSpec | None) -> float:
    """Median milliseconds in which the pictures of the setting's batch are encoded, eager.

    Raises:
        EosError: there are no pictures here.
    """
    model = model_of(name, context)
    if context.sees is None:
        raise EosError(f"{name} needs the pictures of the prompts, and there are none here")
    with torch.no_grad():
        return median_ms(context.sees(operator, context.setting.batch), model.device)


def model_of(name: str, context: CostContext) -> Any:
    """The model that a cost is measured on.

    Raises:
        EosError: there is none, or the setting's mode is none it can be run in here.
    """
    if context.model is None or context.prompts is None:
        raise EosError(f"{name} is measured on a model, and there is none here")
    mode, kind = context.setting.mode, context.model.device.type
    if mode == "compiled":
        raise EosError(f"{name} is measured eager or captured; compiled is predicted from a device profile alone")
    if mode == "captured" and kind != "cuda":
        raise EosError(f"{name}: mode captured is a CUDA graph, and the model is on {kind}")
    return context.model
