"""For everybody: by keyboard alone, on a dark page, in a narrow window."""

import pytest

pytest.importorskip("playwright.sync_api")

from browsing import ALL, GRAPH, wait_for_points
from playwright.sync_api import expect


def test_dark_and_by_keyboard(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for_points(page, ALL)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.get_by_role("button", name="Dark").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{GRAPH}.layout.paper_bgcolor === '#15181c'")
    expect(page.locator("#front-picked tbody a")).to_have_count(4)
    page.locator("#front-picked tbody a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#operator-body h2")).to_contain_text("trial 0")
    expect(page.locator(":focus")).to_have_attribute("id", "content")
    for part in page.locator("figure:visible, nav, [role=search]:visible, section:visible").all():
        assert part.get_attribute("aria-label") or part.locator("figcaption").count()


def test_from_the_filters_on_by_keyboard_alone_to_an_operator(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for_points(page, ALL)
    table = page.get_by_role(
        "region", name="The Pareto front (held-out questions), cheapest first: click a name to open the operator"
    )
    expect(table.get_by_role("link")).to_have_text(["trial 0", "trial 1", "trial 3", "trial 5"])
    slider = page.get_by_role("slider", name="Budget (maximum compute ratio)")
    slider.focus()
    focused = page.locator(":focus")
    for _ in range(16):  # every control before the plot has the focus once; the plot's own buttons have not
        page.keyboard.press("Tab")
        if focused.inner_text().startswith("Skip the plot"):
            break
    expect(focused).to_have_text("Skip the plot and go to the table")
    page.keyboard.press("Enter")
    for _ in range(3):  # the table, its first two rows
        page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("trial 1")
    page.keyboard.press("Enter")
    expect(page.locator("#operator-body h2")).to_contain_text("trial 1")


def test_in_a_narrow_window_figures_fit_below_closed_filters_and_the_page_does_not_scroll(page, served, studies):
    keys = studies.operators("small")["key"].tolist()
    page.set_viewport_size({"width": 400, "height": 800})
    places = {"front": ("#front-graph", "<= 400"), "operator": ("#operator-diagram", "<= 400")}
    for view, (shown, width) in {**places, "compare": ("#compare-stairs", "<= 400")}.items():
        page.goto(f"{served.address}/?study=small&view={view}&run={keys[0]}")
        page.locator(f"{shown} .main-svg").first.wait_for()
        page.wait_for_function(f"document.querySelector('{shown}').clientWidth {width}")
        page.wait_for_function("document.documentElement.scrollWidth === 400")
