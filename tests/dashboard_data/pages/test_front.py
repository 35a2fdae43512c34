"""The front in a browser: what is there, filters, budget, zoom, address."""

import re

import pytest

pytest.importorskip("playwright.sync_api")

from browsing import ALL, GRAPH, RANGES, wait_for_points, wait_for_ranges, wait_for_view, zoom
from playwright.sync_api import expect


def test_from_the_list_of_studies_to_the_front(page, served):
    page.goto(served.address)
    row = page.locator("#listing tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("A small study")
    expect(row).to_contain_text("7 of 8")
    row.get_by_role("link", name="small").click()
    wait_for_points(page, ALL)
    page.wait_for_url("**study=small**")
    expect(page.get_by_role("heading", level=1)).to_have_text("small")
    expect(page.locator("#front-best")).to_contain_text(
        "searched 91.0 % at compute 0.350 (trial 5); hand-designed 60.0 %"
    )
    expect(page.locator("#front-picked tbody tr")).to_have_count(4)
    expect(page.locator("[data-title^='Download plot']")).not_to_have_count(0)
    expect(page.locator("[data-title^='Share']")).to_have_count(0)  # uploads


def test_filters_and_the_budget(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for_points(page, ALL)
    page.locator("#front-show").get_by_text("dominated").click()
    wait_for_points(page, {name: count for name, count in ALL.items() if not name.startswith("dominated")})
    page.locator("#front-families").get_by_text("hand-designed").click()
    wait_for_points(page, {"Pareto front (held-out)": 4, "unreduced model": 1})
    page.get_by_label("Budget as a number").fill("0.26")
    page.keyboard.press("Enter")
    expect(page.locator("#front-best")).to_contain_text("Best within 0.26: searched 87.0 % at compute 0.250 (trial 3)")
    page.wait_for_function(f"{GRAPH}.layout.shapes?.length === 2")  # drawn after the words
    page.locator("#front-on").get_by_text("validation").click()
    expect(page.locator("#front-best")).to_contain_text("searched 88.0 % at compute 0.250 (trial 3)")


def test_a_click_opens_the_operator_and_back_keeps_the_zoom(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for_points(page, ALL)
    before = zoom(page)
    front = page.locator("#front-graph .points").filter(has=page.locator("path.point:nth-of-type(4)"))
    front.locator("path.point").nth(2).hover(force=True)
    expect(page.locator("#front-graph .hoverlayer")).to_contain_text("trial 3")
    page.wait_for_timeout(500)  # pressed again at once, plotly takes it for a double click
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#operator-body h2")).to_contain_text("trial 3")
    expect(page.locator("#operator-body .facts").first).to_contain_text("87.0 %")
    expect(page.locator("#operator-diagram")).to_contain_text("144 → 20")
    expect(page.locator("#operator-skills")).to_contain_text("colour")
    expect(page.locator("#copy-attach")).to_contain_text("eos_platform.attach(model,")
    expect(page.locator("#copy-cli")).to_contain_text("--model bundled-small")
    expect(page.locator("#mlflow-link")).to_have_attribute("href", re.compile("/runs/"))
    page.go_back()
    wait_for_view(page, "front")
    expect(page.locator("#operator-body h2")).to_have_count(0)  # the server has answered for this view as well
    assert page.evaluate(RANGES) == before


DRAW = '"output":"..front-graph.figure...'


def test_what_is_set_is_in_the_address_and_a_drag_is_one_update(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for_points(page, ALL)
    page.locator("#front-families").get_by_text("unreduced").click()
    wait_for_points(page, {name: count for name, count in ALL.items() if name != "unreduced model"})
    page.get_by_label("Budget as a number").fill("0.3")
    page.keyboard.press("Enter")
    expect(page.locator("#front-best")).to_contain_text("Best within 0.3")
    page.wait_for_url("**families=searched,hand-designed&budget=0.3")
    page.wait_for_function(f"{GRAPH}.layout.shapes?.length === 2")
    asked = []
    page.on("request", lambda request: asked.append(request) if DRAW in (request.post_data or "") else None)
    thumb = page.get_by_role("slider", name="Budget (maximum compute ratio)").bounding_box()
    page.mouse.move(thumb["x"] + 8, thumb["y"] + 8)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(thumb["x"] + 8 - step, thumb["y"] + 8)
    page.mouse.up()
    expect(page.locator("#front-best")).not_to_contain_text("Best within 0.3")
    page.wait_for_function("!location.search.endsWith('budget=0.3')")
    # the line at .3 is gone; zoomed before that, the front would be drawn once more
    page.wait_for_function(f"({GRAPH}.layout.shapes ?? []).every(shape => shape.x0 !== 0.3)")
    said, zoomed = page.locator("#front-best").inner_text(), zoom(page)
    assert len(asked) == 1
    address = page.url
    page.goto("about:blank")
    page.goto(address)  # as a bookmark would
    expect(page.locator("#front-best")).to_have_text(said)
    expect(page.locator("#front-families input:checked")).to_have_count(2)
    wait_for_ranges(page, zoomed)


def test_any_measure_can_be_an_axis_and_nothing_left_says_why(page, served):
    page.goto(f"{served.address}/?study=small&x=mean_tokens")
    expect(page.locator("#front-graph .xtitle")).to_have_text("mean tokens (lower is better)")
    page.goto(f"{served.address}/?study=small&z=mean_tokens")
    page.wait_for_function(f"{GRAPH}?.data?.some(trace => trace.type === 'scatter3d')")
    page.goto(f"{served.address}/?study=small&families=")
    expect(page.locator("#front-graph")).to_contain_text("All 8 measured operators are filtered out")
