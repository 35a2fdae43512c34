"""Every family, every check of the conformance suite; those that take longest are run with ``-m slow``."""

from __future__ import annotations

import pytest
import torch

from eos_platform.analysis.experiments import families_matrix
from eos_platform.models.conformance import __main__ as matrix
from eos_platform.models.conformance import planning, relaxation
from eos_platform.models.conformance.checks import CHECKS
from eos_platform.models.conformance.further import FURTHER
from eos_platform.models.conformance.subjects import fresh, samples
from eos_platform.models.conformance.zoo import SAMPLES

torch.set_num_threads(1)
QUICK = ("dropped by hand", "cache lengths", *planning.CHECKS, *relaxation.CHECKS)
NONE = {
    ("PaliGemma", "assisted"),  # to the untouched model too, drafts are part of a prompt that attends both ways
    # what the untouched model itself refuses or fails at
    *((family, "call: second turn, all ids, with a picture") for family in ("Qwen2-VL", "Qwen2.5-VL", "Qwen3-VL")),
    *((family, "call: generate from embeddings") for family in ("Gemma 3", "PaliGemma")),
    ("Gemma 3", "call: rows rebuilt from keys (refused)"),
    ("Gemma 3", "call: cropped and gone on"),
    ("Gemma 3", "call: generate, quantized cache (8 bits)"),
    ("Gemma 3", "call: generate by beams, quantized cache (8 bits)"),
}


@pytest.mark.parametrize("check", [*QUICK])
@pytest.mark.parametrize("family", SAMPLES)
def test_quick(family: str, check: str) -> None:
    assert (CHECKS[check](SAMPLES[family]) > 0) != ((family, check) in NONE)


@pytest.mark.parametrize("family", FURTHER)
def test_further_families_drop_as_by_hand(family: str) -> None:
    assert CHECKS["dropped by hand"](FURTHER[family]) > 0


# of a further family, what takes seconds: its own layers by hand, batches, a later turn from its cache, rows, a search
SHORT = (
    *QUICK[1:],
    *("rows read = own attention", "identity", "rows as if alone", "second turn", "beams and sampling", "rescaled"),
    *("call: generate, prompts of other numbers of images", "call: second turn, all ids, padded", "call: training"),
)


@pytest.mark.slow  # a few seconds a family
@pytest.mark.parametrize("check", SHORT)
@pytest.mark.parametrize("family", FURTHER)
def test_further_families(family: str, check: str) -> None:
    assert CHECKS[check](FURTHER[family]) > 0


@pytest.mark.slow  # a second or two a family
@pytest.mark.parametrize("family", FURTHER)
def test_further_families_are_searched(family: str) -> None:
    row = families_matrix.family_row(FURTHER[family], ("search", "deployed = relaxed", "compute count"))
    assert not row.failures
    assert row.held == {"search": "20", "deployed = relaxed": "8", "compute count": "5"}


@pytest.mark.slow  # half a second a family
@pytest.mark.parametrize("family", SAMPLES)
def test_compute_is_counted_within_a_hundredth(family: str) -> None:
    assert families_matrix.counted(fresh(SAMPLES[family])) == 5


WAYS = ("generate without cache", "generate by beams", "second turn, all ids, padded", "second turn, with a picture")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["LLaVA-1.5", "Qwen2-VL", "Gemma 3", "PaliGemma"])
def test_quick_ways(family: str, way: str) -> None:
    assert CHECKS[f"call: {way}"](SAMPLES[family]) == 3


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
    assert any(all(name in line for name in samples()) for line in lines)
    assert sum("some check" in line for line in lines) == 1
