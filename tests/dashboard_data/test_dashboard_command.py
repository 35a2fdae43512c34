"""``eos dashboard`` before it serves anything: what is missing is said in a line."""

import sys

from typer.testing import CliRunner
from werkzeug.serving import make_server

from eos_platform.cli.app import app as command


def test_without_dash_it_says_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "dash", None)
    done = CliRunner().invoke(command, ["dashboard", "--studies", str(store)])
    assert done.exit_code == 2
    assert "pip install 'eos-platform[dashboard]'" in done.output


def test_bad_input_is_one_line(tmp_path, store):
    done = CliRunner().invoke(command, ["dashboard", "--studies", str(tmp_path)])
    assert done.exit_code == 2
    assert "no MLflow store" in done.output
    taken = make_server("127.0.0.1", 0, lambda *call: [])
    port = str(taken.server_port)
    done = CliRunner().invoke(command, ["dashboard", "--studies", str(store), "--port", port])
    taken.server_close()
    assert done.exit_code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in done.output
