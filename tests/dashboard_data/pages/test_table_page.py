"""The table in a browser, and the file of it."""

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect


def test_heads_sort_columns_are_chosen_and_all_of_it_is_a_file(page, served):
    page.goto(f"{served.address}/?study=small&view=table&columns=compute_ratio,seconds")
    expect(page.locator("#table-body thead th")).to_have_text(["operator", "compute ratio", "search time (s)"])
    head = page.get_by_role("columnheader", name="compute ratio")
    expect(page.locator("#table-body thead th[aria-sort]")).to_have_count(0)  # by accuracy, which is not shown
    head.get_by_role("link").click()
    # not the row in front, which is the same as before
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#table-body tbody th").first).to_have_text("unreduced")
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#table-body tbody th").first).to_have_text("trial 0")
    with page.expect_download() as got:
        page.get_by_role("link", name="Download as CSV").click()
    rows = got.value.path().read_text().splitlines()
    assert len(rows) == 10
    assert "params.learning_rate" in rows[0]
    assert rows[1].startswith("trial 0,")


def test_a_second_click_on_a_head_counts_before_the_first_has_been_drawn(page, served):
    page.goto(served.study(view="table", columns="compute_ratio"))
    head = page.get_by_role("columnheader", name="compute ratio")
    expect(head).to_be_visible()
    # both in one go: nothing can be drawn between them
    page.evaluate("() => { for (const _ of [1, 2]) document.querySelector('a[data-sort=compute_ratio]').click(); }")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#table-body tbody th").first).to_have_text("trial 0")


def test_the_fields_of_the_table_have_one_border_and_room(page, served):
    page.goto(f"{served.address}/?study=small&view=table")
    find = page.get_by_label("Find")
    expect(find).to_be_visible()
    assert find.evaluate("field => getComputedStyle(field).borderTopWidth") == "0px"
    words = "field => { const c = document.createElement('canvas').getContext('2d'); const s = getComputedStyle(field);"
    words += " c.font = `${s.fontSize} ${s.fontFamily}`; return c.measureText(field.placeholder).width"
    words += " - (field.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight)); }"
    assert find.evaluate(words) < 0
