"""The written page, in a real browser that can reach nothing: the figure must be there without a network."""

import base64
import io
import re
import shutil
import subprocess

import pandas as pd
import pytest
from PIL import Image

from eos_platform.dashboards.kept_tokens import kept_figure
from eos_platform.dashboards.page import page
from eos_platform.dashboards.pareto import pareto_figure
from eos_platform.dashboards.skills import skills_figure

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=20000"
)


pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)")


def dom_of(page, folder):
    """What a browser without a network makes of a page."""
    command = [
        str(CHROMIUM),
        *FLAGS.split(),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    file = tmp_path / "pareto.html"
    pareto_figure(points, "A figure").write_html(file, include_plotlyjs=True)
    svg = "".join(re.findall(r"<svg class=\"main-svg\".*?</svg>", dom_of(file, tmp_path), re.DOTALL))
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


def test_the_page_of_a_comparison_draws_all_its_figures_offline(tmp_path):
    points = pd.DataFrame(
        {
            "name": ["unreduced", "searched at 0.2", "fastv at 0.2", "fastv at 0.2, tuned"],
            "family": ["unreduced", "searched", "hand-designed", "hand-designed"],
            "variant": ["", "", "published", "tuned"],
            "design": ["", "", "fastv", "fastv"],
            "ratio": [None, 0.2, 0.2, 0.2],
            "accuracy": [0.97, 0.9, 0.6, 0.66],
            "compute_ratio": [1.0, 0.2, 0.19, 0.2],
            "skill:counting": [0.9, 0.8, 0.5, 0.123],
        }
    )
    stream = io.BytesIO()
    Image.new("RGB", (48, 32), "red").save(stream, "PNG")
    png = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    shown = {"png": png, "grid": [4, 6], "text": "how many rings are there?", "answer": "two"}
    kept = pd.DataFrame(
        {
            "column": ["searched", "fastv, tuned"],
            "ratio": 0.2,
            "picture": 0,
            "origin": [[0, 1, 9], [3, 4]],
            "size": [[1.0, 2.0, 8.0], [1.0, 1.0]],
            "caption": ["3 left, right", "2 left, wrong"],
        }
    )
    file = tmp_path / "page.html"
    figures = [pareto_figure(points), skills_figure(points), kept_figure(kept, [shown])]
    file.write_text(page("A comparison", "Of operators.", figures))
    dom = dom_of(file, tmp_path)
    assert "<h1>A comparison</h1>" in dom
    figures = dom.split('<div id="figure-')[1:]
    assert len(figures) == 3
    assert "fastv, published" in figures[0]
    assert re.search(r">12</text>", figures[1])
    assert "counting" in figures[1]
    assert len(re.findall(r"<image[^>]*data:image/png", figures[2])) >= 2  # the picture, and the tokens drawn over it
    for words in ("how many rings are there? (two)", "3 left, right", "2 left, wrong"):
        assert words in figures[2]
