"""The written page, in a real browser that can reach nothing: the figure must be there without a network."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from eos_platform.dashboards.pareto import pareto_figure

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=20000"
)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
def test_the_page_draws_itself_offline(tmp_path):
    points = pd.DataFrame(
        {
            "name": ["trial 1", "trial 2", "trial 3", "tome at .1", "all tokens"],
            "family": ["searched", "searched", "searched", "hand-designed", "unreduced"],
            "design": [None, None, None, "tome", None],
            "accuracy": [0.9, 0.8, 0.6, 0.66, 0.97],
            "accuracy_low": [0.88, 0.78, 0.58, None, 0.96],
            "accuracy_high": [0.92, 0.82, 0.62, None, 0.98],
            "compute_ratio": [0.2, 0.08, 0.15, 0.1, 1.0],
        }
    )
    page = tmp_path / "pareto.html"
    pareto_figure(points, "A figure").write_html(page, include_plotlyjs=True)
    command = [
        str(CHROMIUM),
        *FLAGS.split(),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr

    svg = "".join(re.findall(r"<svg class=\"main-svg\".*?</svg>", done.stdout, re.DOTALL))
    legend = re.findall(r"class=\"legendtext\"[^>]*>([^<]+)<", svg)
    groups = {"searched", "hand-designed"}
    assert [name for name in legend if name not in groups] == [
        "Pareto front",
        "dominated",
        "tome",
        "unreduced model",
    ]
    # splitting leaves what comes before the first trace; the unreduced model's dashed line has no point
    layers = svg.split('<g class="trace ')
    assert sorted(layer.count('<path class="point') for layer in layers) == [0, 0, 1, 1, 1, 2]
