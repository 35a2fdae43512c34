"""How a study goes, in a browser."""

import pytest

pytest.importorskip("playwright.sync_api")

from browsing import wait_for_view
from playwright.sync_api import expect


def test_health_and_table(page, served):
    page.goto(f"{served.address}/?study=small&view=health")
    expect(page.locator("#health-cards")).to_contain_text("7 of 8")
    expect(page.locator("#health-failures")).to_contain_text("the loss exploded")
    expect(page.locator("#health-volume .ytitle")).to_have_text("hypervolume (share of 1)")
    expect(page.locator("#health-parallel .axis-title")).to_have_count(4)
    expect(page.locator("#health-parallel .axis-title").first).to_have_text("budget")
    page.locator("#health-parallel .axis .domain").first.scroll_into_view_if_needed()
    axes = [axis.bounding_box() for axis in page.locator("#health-parallel .axis .domain").all()]
    page.mouse.click((axes[0]["x"] + axes[1]["x"]) / 2, axes[0]["y"] + axes[0]["height"])  # the line of both least
    expect(page.locator("#operator-body h2")).to_contain_text("trial 0")
    page.go_back()
    wait_for_view(page, "health")
    page.get_by_role("link", name="Table").click()
    expect(page.locator("#table-body caption")).to_have_text("9 operators, page 1 of 1")
    page.get_by_label("Find").fill("hand-designed prune")
    expect(page.locator("#table-body tbody tr")).to_have_count(1)
