"""``eos cluster``, as a shell sees it; a real cluster answers in tests/cluster."""

import subprocess

import pytest
from typer.testing import CliRunner

from eos_platform.cli.app import app
from eos_platform.engine.cluster import ray_session as session
from eos_platform.engine.cluster.ray_session import NODE_ENVIRONMENT


def test_the_environment_is_what_a_shell_takes():
    printed = CliRunner().invoke(app, ["cluster", "env"])
    assert printed.exit_code == 0
    script = f"{printed.output}\nenv"
    found = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    lines = found.stdout.splitlines()
    assert all(f"{name}={value}" in lines for name, value in NODE_ENVIRONMENT.items())
    assert NODE_ENVIRONMENT["RAY_AUTH_MODE"] == "token"


def test_a_dead_node_is_noticed_within_ten_seconds_by_these_settings():
    period, timeout, threshold = (
        int(NODE_ENVIRONMENT[f"RAY_health_check_{name}"]) for name in ("period_ms", "timeout_ms", "failure_threshold")
    )
    assert threshold * (period + timeout) < 10_000
    assert threshold >= 3  # one slow answer is no death


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--address", "127.0.0.1:1"], "cannot reach Ray"),
        (["--storage", "s3://someone:hush@bucket"], "no name or password"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, words, says):
    monkeypatch.setattr(session.ray, "is_initialized", lambda: False)
    done = CliRunner().invoke(app, ["cluster", "check", *words])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert says in line
    assert "hush" not in line
