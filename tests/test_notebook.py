"""The notebook runs as it stands, in a kernel of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "studies" / "search.ipynb"
RUN = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.execute(notebook, cwd=".", timeout=900, kernel_name="python3")
nbformat.write(notebook, "ran.ipynb")
"""


@pytest.mark.slow  # a minute of a core: a step of .ci/run
def test_the_notebook_runs(tmp_path):
    # a process of its own: its sockets and event loops are no business of the other tests
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(NOTEBOOK)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "ran.ipynb").read_text("utf-8"))["cells"]
    search, plot, evaluate, saved, answer = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    shown = [output["data"] for output in search if "data" in output]
    assert "search ended after" in "".join(shown[0]["text/html"])
    assert "".join(shown[-1]["text/plain"]).startswith("accuracy ")
    assert "<table>" in "".join(shown[-1]["text/html"])
    assert "<svg" in "".join(shown[-1]["text/html"])
    assert "application/vnd.plotly.v1+json" in plot[-1]["data"]
    written = "".join("".join(output.get("text", "")) for output in evaluate)
    assert written.count("of 256 questions") == 2
    assert "operator 'searched-0.3'" in "".join(saved[-1]["data"]["text/plain"])
    assert "red" in "".join(answer[-1]["data"]["text/plain"])
