"""The tutorial's commands and code, run as they stand, from start to finish."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eos_platform.cli import app as cli

PAGE = Path(__file__).parents[1] / "studies/tutorial.md"


@pytest.mark.slow  # a search, a comparison and a benchmark: about a minute
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(python|bash)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "bash", "bash", "bash", "bash", "python"]
    names: dict[str, object] = {}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)
            continue
        for line in text.strip().splitlines():
            done = CliRunner().invoke(cli.app, shlex.split(line)[1:], env={"COLUMNS": "120"})
            assert done.exit_code == 0, f"{line}\n{done.output}"
    for file in ("eos-data-check/examples.png", "operator.json", "eos-compare/report.md", "eos-benchmark/table.csv"):
        assert Path(file).is_file()
    assert Path("saved-model/model.safetensors").is_file()
    answer = capsys.readouterr().out.strip().splitlines()[-1]  # and no prompt before it
    assert answer
    assert "<image>" not in answer
