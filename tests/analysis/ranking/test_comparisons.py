"""Real comparison folders, ranked: blocks, what is missing, and the command."""

import json

import pytest
from typer.testing import CliRunner

from eos_platform.analysis.comparison.run import run
from eos_platform.analysis.comparison.settings import Settings
from eos_platform.analysis.ranking.comparisons import blocks_of
from eos_platform.cli.app import app
from eos_platform.common.errors import EosError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("ranks") / "small"
    designs = ("random", "stride", "tops", "holov")
    settings = Settings.of(
        model="bundled-small", designs=designs, ratios=(0.2, 0.03), questions=8, seeds=0, pictures=0, batch=1, out=out
    )
    run(settings, "cpu")
    return out


def test_blocks_are_a_model_a_task_and_a_ratio(folder):
    blocks = blocks_of([folder])
    assert [ratio for *_, ratio in blocks] == [0.2, 0.03]
    (first, second) = blocks.values()
    assert set(first) == set(second) == {"random", "stride", "tops", "holov"}
    assert all(score is not None for score in first.values())
    whole = {json.loads(line)["name"]: json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()}
    assert first["tops"] == whole["tops at 0.2"]["accuracy"]


def test_the_same_twice_or_an_unknown_group_is_refused(folder):
    with pytest.raises(EosError, match="already"):
        blocks_of([folder, folder])
    with pytest.raises(EosError, match="unknown group 'colr'; did you mean 'color'"):
        blocks_of([folder], "colr")


def test_the_command_ranks_and_draws(folder, tmp_path):
    out = tmp_path / "ranks.html"
    done = CliRunner().invoke(app, ["ranks", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "4 methods in 2 comparisons" in done.output  # one that cannot reach .03 is last there
    lacking = [name for name in ("tops", "holov") if any(block[name] is None for block in blocks_of([folder]).values())]
    assert lacking
    for name in lacking:
        assert f"{name}: ranked last in 1 of 2 comparisons, relative rank" in done.output
    # none of these small ones goes as low as .03: left out, there would be nobody to rank
    apart = CliRunner().invoke(app, ["ranks", str(folder), "--missing", "exclude"])
    assert apart.exit_code == 2
    assert "no method has a score in every comparison" in apart.output
    assert "critical difference" in out.read_text(encoding="utf-8")
