"""Every family, every check of the conformance suite; those that take longest are run with ``-m slow``."""

from __future__ import annotations

import pytest
import torch

from eos_platform.models.conformance.checks import CHECKS
from eos_platform.models.conformance.zoo import SAMPLES

torch.set_num_threads(1)
QUICK = ("dropped by hand", "cache lengths")
NONE = {("PaliGemma", "assisted")}  # to the untouched model too, drafts are part of a prompt that attends both ways


@pytest.mark.parametrize("check", [*QUICK])
@pytest.mark.parametrize("family", SAMPLES)
def test_quick(family: str, check: str) -> None:
    assert (CHECKS[check](SAMPLES[family]) > 0) != ((family, check) in NONE)


@pytest.mark.slow  # some 20 operators x batches x runs without cache, a family: minutes
@pytest.mark.parametrize("check", [name for name in CHECKS if name not in QUICK])
@pytest.mark.parametrize("family", SAMPLES)
def test_whole(family: str, check: str) -> None:
    assert (CHECKS[check](SAMPLES[family]) > 0) != ((family, check) in NONE)
