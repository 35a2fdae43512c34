"""No serious violation of accessibility on any page, by axe-core (MPL, so not in this repository).

npm install --prefix /tmp/axe axe-core
EOS_AXE=/tmp/axe/node_modules/axe-core/axe.min.js python -m pytest tests/dashboard_data/test_axe.py
"""

import os
from pathlib import Path

import pytest
from test_dashboard import CHROMIUM, FLAGS, PATIENCE, Served

playwright = pytest.importorskip("playwright.sync_api")
AXE = Path(os.environ.get("EOS_AXE", "/nowhere"))
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
    pytest.mark.skipif(not AXE.is_file(), reason="EOS_AXE names no axe.min.js: npm install axe-core"),
]
READY = {
    "studies": "#listing tbody tr",
    "front": "#front-picked tbody tr",
    "operator": "#operator-curves .main-svg",
    "compare": "#compare-skills .main-svg",
    "health": "#health-optuna .main-svg",
    "table": "#table-body tbody tr",
}


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(request, store):
    served = Served(store)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(color_scheme=request.param, bypass_csp=True).new_page()
        page.set_default_timeout(PATIENCE)
        yield page, served
        browser.close()
    served.stop()


def serious(page):
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("view", READY)
def test_no_serious_violation(opened, studies, view):
    page, served = opened
    key = studies.operators("small").set_index("name")["key"]["trial 3"]
    page.goto(served.address if view == "studies" else f"{served.address}/?study=small&view={view}&run={key}")
    page.locator(READY[view]).first.wait_for()
    assert serious(page) == []


def test_nor_in_the_report(opened, studies, tmp_path):
    from eos_platform.dashboard_data import report

    (tmp_path / "report.html").write_text(report.html(report.of_study(studies, "small")))
    page, _ = opened
    page.goto((tmp_path / "report.html").as_uri())
    page.locator(".main-svg").first.wait_for()
    assert serious(page) == []
