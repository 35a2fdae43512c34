"""The pictures of the pages come from the stored results, and show what the pages say."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from eos_platform.dashboard_data.pictures import __main__ as pictures
from eos_platform.dashboard_data.pictures import kept

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "studies" / "results"


@pytest.fixture(scope="module")
def points():
    return pd.read_csv(RESULTS / pictures.TABLE)


def test_every_tuned_design_has_one_panel(points):
    shown = [design for panel in pictures.PANELS.values() for design in panel]
    assert sorted(shown) == sorted(points.loc[points["variant"] == "tuned", "design"].unique())


def test_the_line_of_the_searched_is_what_readme_says(points):
    figure = pictures.mistakes(RESULTS)
    means = next(one for one in figure.data if one.line.width == 3)
    wrong = dict(zip(points[points["family"] == "searched"].groupby("ratio").groups, means.y, strict=True))
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    said = re.search(r"answer ([\d.]+) % correctly at a tenth of the compute and ([\d.]+) % at a twentieth", readme)
    assert said is not None
    assert [f"{100 - wrong[ratio]:.1f}" for ratio in (0.1, 0.05)] == list(said.groups())


def test_what_is_shown_of_designs_is_stored(points):
    for design in kept.DESIGNS:
        for ratio in kept.RATIOS:
            mine = points[(points["design"] == design) & (points["variant"] == "tuned") & (points["ratio"] == ratio)]
            assert json.loads(mine["knobs"].iloc[0])
            assert (RESULTS / "operators" / f"bundled-{ratio:.2f}.json").exists()


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pages_have_both_pictures_and_they_are_small(name):
    pages = [ROOT / "README.md", *RESULTS.glob("*.md")]
    assert any(f"{name}-dark.webp" in page.read_text("utf-8") for page in pages)
    for file in (f"{name}.webp", f"{name}-dark.webp"):
        with Image.open(RESULTS / file) as picture:
            assert picture.width == pictures.WIDE
        assert (RESULTS / file).stat().st_size < 300_000


def test_a_picture_is_made_small():
    stream = io.BytesIO()
    Image.new("RGB", (3200, 1600), "white").save(stream, "PNG")
    with Image.open(io.BytesIO(pictures.small(stream.getvalue()))) as made:
        assert (made.format, made.size) == ("WEBP", (pictures.WIDE, pictures.WIDE // 2))
