"""The hardware of a place: a cost other than the compute ratio, of which budgets are shares.

A budget of .5 then allows half of what the unreduced model takes, such as half of the milliseconds that a device
profile (``eos profile``) predicts for its prefill. Keys are those of a search's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eos_platform.common.errors import EosError
from eos_platform.costs.device.known import profile_of
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.costs.registry import COMPUTE, COSTS
from eos_platform.protocols import Cost, CostContext, Setting
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, search_cost
from eos_platform.tasks.base import Subject
from eos_platform.tasks.typical import cost_context

KEYS = ("cost", "device_profile", "cost_batch", "cost_mode", "cost_answer")
TIME = "prefill_ms"  # what a device profile is of, unless another cost is named


@dataclass(frozen=True)
class Hardware:
    """What budgets of a place are shares of.

    Attributes:
        cost: its name.
        setting: how the model is run, and the device profile that tells the cost.
    """

    cost: str
    setting: Setting

    @classmethod
    def of(cls, given: Mapping[str, str], where: str) -> Hardware:
        """From what a place says.

        Raises:
            EosError: a value that cannot be, no such profile, or a cost that needs one.
        """
        profile = profile_of(Setting(profile=given.get("device_profile", "")))
        usual = TIME if profile else COMPUTE
        told = {key: int(value) if value.isdecimal() else value for key, value in given.items()}
        values = {"cost": usual, "budget": 1.0, **(_measured(profile) if profile else {}), **told}
        config = SearchConfig.of(values, where)
        if profile is None and not COSTS[config.cost].deterministic:
            raise EosError(
                f"{where}: cost {config.cost} is a device's; name its profile (device_profile=FILE, which eos profile "
                "makes)"
            )
        if profile and COSTS[config.cost].deterministic:
            raise EosError(f"{where}: cost {config.cost} is the same on every device; leave device_profile out")
        if profile and (config.cost_mode, config.cost_batch) not in profile.settings():
            known = ", ".join(f"{mode} at batch {batch}" for mode, batch in profile.settings())
            raise EosError(
                f"{where}: the device profile has {known}; not {config.cost_mode} at batch {config.cost_batch}"
            )
        return cls(config.cost, config.setting)

    @property
    def words(self) -> list[str]:
        """What tells it from others, as the options of a place: profiles by the names of their files."""
        setting, usual = self.setting, Setting()
        words = [f"cost={self.cost}"] if self.cost != (TIME if setting.profile else COMPUTE) else []
        words += [f"device_profile={Path(setting.profile).stem}"] if setting.profile else []
        words += [f"cost_batch={setting.batch}"] if setting.batch != usual.batch else []
        words += [f"cost_mode={setting.mode}"] if setting.mode != usual.mode else []
        return words + ([f"cost_answer={setting.answer}"] if setting.answer != usual.answer else [])

    @property
    def measured(self) -> Cost:
        """The cost itself."""
        return COSTS[self.cost]

    def context(self, subject: Subject) -> CostContext:
        """What it is taken from."""
        return cost_context(subject, setting=self.setting)

    def config(self, config: SearchConfig, subject: Subject) -> tuple[SearchConfig, SearchCost]:
        """Settings of a search whose budget is a share, for this cost; and the cost.

        Raises:
            EosError: the profile is of another model.
        """
        setting = self.setting
        fields = {
            "cost": self.cost, "cost_batch": setting.batch, "cost_mode": setting.mode, "cost_answer": setting.answer,
            "device_profile": setting.profile,
        }  # fmt: skip
        mine = config.model_copy(update=fields)
        cost = search_cost(subject, mine)
        return mine.model_copy(update={"budget": config.budget * cost.whole}), cost


def _measured(profile: DeviceProfile) -> dict[str, str | int]:
    """Eager at batch 1 where that was measured, else what was measured first."""
    known = profile.settings()
    if ("eager", 1) in known or not known:
        return {}
    mode, batch = known[0]
    return {"cost_mode": mode, "cost_batch": batch}
