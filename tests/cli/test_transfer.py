"""``eos transfer``: what is refused before anything is loaded, and the report of what is measured."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eos_platform.analysis.stats.bitpack import pack
from eos_platform.analysis.transfer.plan import Settings
from eos_platform.analysis.transfer.store import Cells
from eos_platform.cli.app import app

PLACES = ["bundled-small", "bundled-small-v2"]


def words(*more: str) -> list[str]:
    return ["transfer", *PLACES, "--budgets", ".2", "--ways", "zero-shot", *more]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--ways", "zeroshot"], "did you mean 'zero-shot'"),
        (["--budgets", "a"], "--budgets a"),
        (["--operator", "nowhere.json"], "nowhere.json"),
        (["--operator", "a/bundled-small.json"], "a place or another file has this name"),
        (["--processes", "2", "--address", "local"], "--processes: with --address"),
        (["--report-only"], "holds no transfer matrix"),
        (["bundled-qwen:size=448"], "did you mean 'sizes'"),
        (["bundled-small:device_profile=nowhere.json"], "device profile not found: nowhere.json"),
        (["--set", "cost=kv_bytes"], "in a matrix a place has it"),
    ],
)
def test_refused_at_once_and_nothing_written(tmp_path: Path, more: list[str], why: str) -> None:
    result = CliRunner().invoke(app, [*words(*more), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert why in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_the_report_again(tmp_path: Path) -> None:
    settings = Settings.of({"places": PLACES, "budgets": (0.2,), "ways": ("zero-shot",)})
    cells = Cells(tmp_path, settings)
    about = {"family": "llava", "task": "scenes", "layers": 6, "tokens": 144, "hidden": 96}
    for kind, source, place, budget, right in (
        ("unreduced", "bundled-small", "bundled-small", 1.0, 10),
        ("searched anew", "bundled-small", "bundled-small", 0.2, 8),
        ("zero-shot", "bundled-small-v2", "bundled-small", 0.2, 6),
    ):
        cells.add(
            {
                "key": f"{kind}|{source}|{place}|{budget:g}|0", "kind": kind, "source": source, "place": place,
                "budget": budget, "seed": 0, "status": "measured", "accuracy": right / 10, "questions": 10,
                "scores": pack([number < right for number in range(10)]), "compute_ratio": budget, "seconds": 1.0,
                "about": about,
            }
        )  # fmt: skip
    result = CliRunner().invoke(app, [*words("--report-only"), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "75.0" in result.output
    assert {"transfer.md", "transfer.csv", "transfer.html"} <= {file.name for file in tmp_path.iterdir()}
    assert "0 of 1 keep at least 95%" in (tmp_path / "transfer.md").read_text()
