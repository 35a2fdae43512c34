"""Device profiles in use: read once, held against the model and the machine that are here, and fitted."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from eos_platform.common.errors import EosError
from eos_platform.common.files import check_regular
from eos_platform.costs.device.machine import machine
from eos_platform.costs.device.predictor import Predictor
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.protocols import Cost, CostContext, Setting


def profile_of(setting: Setting) -> DeviceProfile | None:
    """The profile that a setting names; None: it names none.

    Raises:
        EosError: it cannot be read.
    """
    if not setting.profile:
        return None
    path = Path(setting.profile)
    return _read(str(path), check_regular(path, "device profile").stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: str, changed: int) -> DeviceProfile:
    return DeviceProfile.load(path)


def predictor_of(cost: Cost, context: CostContext) -> Predictor | None:
    """What the setting's profile predicts a cost by; None: there is no profile, or the cost needs no device.

    Raises:
        EosError: the profile is of another model, has no such mode or batch size, or says nothing of this cost.
    """
    profile = profile_of(context.setting)
    if profile is None or cost.deterministic:
        return None
    made = getattr(cost, "predictor", None)
    if made is None:
        raise EosError(f"cost '{cost.name}' is measured, and not predicted from a device profile")
    profile.check_model(context.shape)
    predictor: Predictor = made(context, profile)
    return predictor


def elsewhere(context: CostContext) -> str:
    """The device that costs are predicted for, as it is not the one the model is on; empty: it is, or no profile."""
    profile = profile_of(context.setting)
    if profile is None:
        return ""
    if context.model is not None and not profile.machine.other_device(machine(context.model.device)):
        return ""
    return str(profile.machine)


def doubts(context: CostContext) -> list[str]:
    """What a person should know before a profile is relied on, a line each.

    Raises:
        EosError: the profile is of another model.
    """
    profile = profile_of(context.setting)
    if profile is None:
        return []
    other = elsewhere(context)
    if other:
        profile.check_model(context.shape)
        return [f"milliseconds and joules are predicted for {other} ({context.setting.profile}), not measured here"]
    assert context.model is not None
    said = profile.check_model(context.shape, context.model.dtype)
    drifted = profile.machine.drifted(machine(context.model.device))
    if drifted:
        said.append(f"the device profile was measured with other versions ({'; '.join(drifted)}): eos profile anew")
    return said
