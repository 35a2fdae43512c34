"""Which cells a table of generalists has, and what it says of places that an operator cannot be at work in."""

import pytest

from eos_platform.analysis.transfer.generalists import cells, kinds_of, main, table
from eos_platform.common.errors import EosError

BOTH = "a+b:crowds"


def test_every_place_has_its_own_search() -> None:
    assert kinds_of(BOTH, ["mean", "own"]) == ["mean", "own-1", "own-2"]
    made = cells([BOTH], ["worst", "own"], (0.2, 0.1), 2)
    assert made[0] == (BOTH, "unreduced", 1.0, 0)
    assert len(made) == 1 + 3 * 2 * 2
    assert [seed for *_, seed in made[1:]] == [0] * 6 + [1] * 6
    with pytest.raises(EosError, match="two places at least"):
        kinds_of("a", ["own"])


def row(kind: str, ratio: float, **places: float) -> dict[str, object]:
    return {
        "model": BOTH,
        "kind": kind,
        "ratio": ratio,
        "seed": 0,
        "places": places,
        "seconds": 3.0,
        "compute_ratios": places,
    }


def test_the_worst_place_is_told_and_a_refusal_is_no_zero() -> None:
    rows = [row("unreduced", 1.0, a=0.9, b=0.8), row("mean", 0.2, a=0.85, b=0.6), row("own-1", 0.2, a=0.9)]
    lines = table(rows).splitlines()
    assert "| mean | 0.2 | 1 | 85.0 | 60.0 | 72.5 | 20.0 | 0.850 | 3 |" in lines
    assert "| own-1 | 0.2 | 1 | 90.0 | refused | | | 0.900 | 3 |" in lines


def test_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kinds", "best"]) == 2
    assert "unknown kind 'best'" in capsys.readouterr().err
