"""The model inside of what others wrap around it: adapters, parallel training, ``torch.compile``."""

from __future__ import annotations

from typing import Any

from torch import nn


def unwrapped(model: Any) -> Any:
    """The model itself; ``model`` where nothing is wrapped around it.

    Known are wrappers of torch (``torch.compile``, DataParallel, DistributedDataParallel, FullyShardedDataParallel,
    AveragedModel), of peft, and others that keep what they wrap as ``module`` (DeepSpeed's engine, say); in any order.
    """
    return layers(model)[-1]


def layers(model: Any) -> list[Any]:
    """What is wrapped around what, from the outside in; the last is the model itself."""
    chain = [model]
    while (inner := _inside(chain[-1])) is not None and all(inner is not one for one in chain):
        chain.append(inner)
    return chain


def _inside(model: Any) -> Any:
    """What a wrapper wraps; None: it is none."""
    if not isinstance(model, nn.Module):
        return None
    base: Any = getattr(type(model), "get_base_model", None)
    if callable(base):  # peft
        return base(model)
    for name in ("_orig_mod", "_fsdp_wrapped_module", "module"):
        inner = model._modules.get(name)
        if inner is not None:
            return inner
    return None


def inside_named(model: Any, known: Any) -> tuple[str, Any] | None:
    """The outermost submodule that is a model of a known kind, and its name; None: there is none.

    Args:
        known: says of a module whether it is.
    """
    if not isinstance(model, nn.Module):
        return None
    return next(((name, one) for name, one in model.named_modules() if name and known(one)), None)
