"""Every family, every check of the conformance suite; those that take longest are run with ``-m slow``."""

from __future__ import annotations

import pytest
import torch

from eos_platform.models.conformance import __main__ as matrix
from eos_platform.models.conformance import relaxation
from eos_platform.models.conformance.checks import CHECKS
from eos_platform.models.conformance.zoo import SAMPLES

torch.set_num_threads(1)
QUICK = ("dropped by hand", "cache lengths", *relaxation.CHECKS)
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


def test_the_matrix_is_a_line_a_check_where_it_is_piped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "CHECKS", {"some check": lambda sample: len(sample.sizes)})
    assert matrix.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(all(name in line for name in SAMPLES) for line in lines)
    assert sum("some check" in line for line in lines) == 1
