"""``eos profile`` as people run it, on a tiny model."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from eos_platform.cli.app import app
from eos_platform.costs.device.profile import DeviceProfile


def test_a_profile_is_measured_saved_and_told(tmp_path):
    out = tmp_path / "device.json"
    done = CliRunner().invoke(
        app, ["profile", "--shape", "tiny", "--text", "12", "--rounds", "1", "-o", str(out), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    profile = DeviceProfile.load(out)
    assert profile.settings() == [("eager", 1)]
    assert profile.machine.kind == "cpu"
    assert "predictions of operators held out" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["device.json"]  # nothing unfinished is left


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--modes", "captured"], "--modes captured: CUDA graphs are of GPUs; the model runs on cpu"),
        (["--modes", "lazy"], "--modes lazy: one of eager, captured, compiled"),
        (["--batch", "1,two"], "--batch 1,two: expected numbers separated by commas"),
        (["--shape", "tiny", "--batch", "1,2,4,8,16,32"], "would get 7 each: name fewer"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    out = ["-o", str(tmp_path / "x.json"), "--device", "cpu"]
    done = CliRunner().invoke(app, ["profile", *arguments, *out], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output
