"""Operators side by side in a browser."""

import math
import re

import pandas as pd
import pytest

pytest.importorskip("playwright.sync_api")

from browsing import Served
from playwright.sync_api import expect


def test_operators_side_by_side(page, served):
    found = served.studies.operators("small").set_index("name")
    keys = ",".join(found.loc[["trial 1", "fastv at 0.2"], "key"])
    page.goto(f"{served.address}/?study=small&view=compare&with={keys}")
    table = page.locator("#compare-body table")
    expect(table.locator("thead th")).to_have_text(["", "trial 1", "fastv at 0.2"])
    expect(table).to_contain_text("79.0 %")
    row = table.get_by_role("row", name="difference from trial 1 (points, 95 %)")
    expect(row).to_contain_text(re.compile(r"-19\.0 \(-22\.[89] to -15\.0\)"))
    expect(table.get_by_role("row", name="better")).to_contain_text("trial 1, and cheaper")
    expect(page.locator("#compare-stairs .legendtext")).to_have_text(["trial 1", "fastv at 0.2"])
    expect(page.locator("#compare-skills .legendtext")).to_have_text(["trial 1", "fastv at 0.2"])
    expect(page.locator("#compare-diagram-1")).to_contain_text("144 → 30")


def test_the_unreduced_model_has_a_colour_but_no_diagram(page, served, studies):
    keys = studies.operators("small").set_index("name")["key"]
    page.goto(f"{served.address}/?study=small&view=compare&with={keys['unreduced']},{keys['fastv at 0.2']}")
    found = "Object.fromEntries(document.querySelector('#compare-{} .js-plotly-plot').data.filter(t => t.name)"
    found += ".map(t => [t.name, t.marker.color ?? t.line.color]))"
    for part in ("skills", "stairs"):
        page.locator(f"#compare-{part} .legendtext").first.wait_for()
    skills, stairs = (page.evaluate(found.format(part)) for part in ("skills", "stairs"))
    assert set(skills) == {"unreduced", "fastv at 0.2"}
    assert stairs["fastv at 0.2"] == skills["fastv at 0.2"] != skills["unreduced"]
    expect(page.locator("#compare-kept")).to_contain_text(
        "Tokens kept by unreduced on example pictures: This run has no"
    )


def test_six_operators_side_by_side_keep_title_and_legend_apart(page, store):
    served = Served(store)
    found = served.studies.operators
    served.studies.operators = lambda *asked: found(*asked).assign(name=lambda rows: "a long name, " + rows["name"])
    keys = ",".join(found("small")["key"].tolist()[:6])
    try:
        page.goto(f"{served.address}/?study=small&view=compare&with={keys}")
        for part in ("#compare-stairs", "#compare-skills"):
            page.locator(f"{part} .legend").wait_for()
            title, legend = (page.locator(f"{part} {name}").bounding_box() for name in (".gtitle", ".legend"))
            assert title["y"] + title["height"] <= legend["y"]
    finally:
        page.goto("about:blank")
        served.stop()


def operators(*rows):
    columns = ["key", "family", "front", "accuracy", "compute_ratio"]
    return pd.DataFrame(rows, columns=columns)


def test_the_first_choice_is_compared_at_its_compute_or_the_nearest():
    from eos_platform.dashboards.app.compare import first_choice

    mine = ("mine", "searched", True, 0.9, 0.134)
    near = [("a", "hand-designed", False, 0.70, 0.12), ("b", "hand-designed", False, 0.75, 0.15)]
    far = [("c", "hand-designed", False, 0.95, 0.400), ("d", "hand-designed", False, 0.60, 0.200)]
    assert first_choice(operators(mine, *near, *far)) == ["mine", "b"]
    assert first_choice(operators(mine, *far)) == ["mine", "d"]
    assert first_choice(operators(mine, ("e", "hand-designed", False, 0.6, math.nan))) == ["mine"]
    assert first_choice(operators(*far)) == []
