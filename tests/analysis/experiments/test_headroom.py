"""How much room a task leaves: three ways of answering, in one table."""

import re

import numpy as np
import pytest

from eos_platform.analysis.experiments.headroom import WAYS, main, table
from eos_platform.common.errors import EosError
from eos_platform.tasks.evaluate import Evaluation


def test_the_table_has_a_line_for_every_group() -> None:
    def room(*scores: float) -> Evaluation:
        return Evaluation(np.array(scores), ("a", "b"), lambda: {"detail": np.array([True, False])})

    rooms = {
        "one": dict(zip(WAYS, (room(1, 1), room(0, 1), room(1, 0)), strict=True)),
        "two": dict(zip(WAYS, (room(1, 0.5), room(0, 0), room(0, 0.25)), strict=True)),
    }
    assert table(rooms).splitlines() == [
        "| group | one | two |",
        "| --- | --- | --- |",
        "| **all** | 100.0 / 50.0 / 50.0 | 75.0 / 0.0 / 12.5 |",
        "| a | 100 / 0 / 100 | 100 / 0 / 0 |",
        "| b | 100 / 100 / 0 | 50 / 0 / 25 |",
        "| detail | 100 / 0 / 100 | 100 / 0 / 0 |",
    ]


def test_a_bundled_model_loses_by_either(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--models", "bundled-small-v2", "--questions", "48", "--device", "cpu"])
    out = capsys.readouterr().out
    whole, quarter, fewer = map(float, re.search(r"\*\*all\*\* \| (\S+) / (\S+) / (\S+) \|", out).groups())  # type: ignore[union-attr]
    assert whole > 80 > max(quarter, fewer)
    assert "| detail | 100 / 0 / " in out


def test_version_1_is_not_for_it() -> None:
    with pytest.raises(EosError, match="say --task scenes-v2"):
        main(["--models", "bundled-small", "--questions", "4", "--device", "cpu"])
