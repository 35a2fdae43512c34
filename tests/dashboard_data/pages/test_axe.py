"""No serious violation of accessibility on any page, by axe-core (MPL, so not in this repository).

npm install --prefix /tmp/axe axe-core
EOS_AXE=/tmp/axe/node_modules/axe-core/axe.min.js python -m pytest tests/dashboard_data/pages/test_axe.py
"""

import os
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")

from browsing import CHROMIUM, opened

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


WIDTHS = ((1440, 900), (1280, 720), (400, 800))


@pytest.fixture(scope="module", params=["light", "dark"])
def shown(request, browser):
    """A page that has no console to be watched: axe-core is put into it past its policy."""
    context, page = opened(browser, color_scheme=request.param, bypass_csp=True)
    yield page
    context.close()


def serious(page):
    """What axe-core finds at every width, without loading the page anew."""
    page.evaluate(AXE.read_text("utf-8"))
    wrong = set()
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(f"document.documentElement.clientWidth <= {width} && innerWidth === {width}")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        wrong |= {(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")}
    return wrong


@pytest.mark.parametrize("view", READY)
def test_no_serious_violation(shown, served, studies, view):
    key = studies.operators("small").set_index("name")["key"]["trial 3"]
    shown.goto(served.address if view == "studies" else served.study(view=view, run=key))
    shown.locator(READY[view]).first.wait_for()
    assert serious(shown) == set()


def test_nor_in_the_report(shown, studies, tmp_path):
    from eos_platform.dashboard_data import report

    (tmp_path / "report.html").write_text(report.html(report.of_study(studies, "small")))
    shown.goto((tmp_path / "report.html").as_uri())
    shown.locator(".main-svg").first.wait_for()
    assert serious(shown) == set()
