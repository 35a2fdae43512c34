"""What every family does, in one table: cells are what was tried, failures are said below."""

import pytest

from eos_platform.analysis.experiments import families_matrix
from eos_platform.analysis.experiments.families_matrix import COLUMNS, Row, main, table
from eos_platform.common.errors import EosError


def test_a_failure_is_an_x_and_a_line() -> None:
    def fails() -> int:
        raise AssertionError("3.0e-01\napart")

    row = Row()
    row.tried("search", lambda: 20)
    row.tried("compute count", fails)
    assert table({"Some": row}).splitlines() == [
        f"| family | {' | '.join(COLUMNS)} |",
        f"| {' | '.join(['---'] * 8)} |",
        "| Some |  |  |  | 20 |  | x |  |",
        "Some: compute count: AssertionError: 3.0e-01 apart",
    ]


def test_unknown_names_are_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["Qwen3.6"], ["--models", "bundled-qwenn"]):
        with pytest.raises(EosError, match="did you mean"):
            main(words)
    monkeypatch.setattr(families_matrix, "family_row", lambda sample: Row({"search": "20"}))
    assert main(["Qwen3.5", "Mistral 3", "--models", ""]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| Qwen3.5 |  |  |  | 20 |  |  |  |",
        "| Mistral 3 |  |  |  | 20 |  |  |  |",
    ]
