"""A browser, and the small study behind a server."""

import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no folder on the path
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    from browsing import CHROMIUM, FLAGS

    if CHROMIUM is None:
        pytest.skip("no chromium on PATH (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(store):
    pytest.importorskip("dash")
    pytest.importorskip("playwright.sync_api")
    from browsing import Served

    found = Served(store)
    yield found
    found.stop()


@pytest.fixture
def page(browser):
    """A page whose console must stay free of errors, and which asks for nothing from elsewhere."""
    from browsing import opened

    context, found = opened(browser, viewport={"width": 1280, "height": 720}, color_scheme="light")
    wrong = []
    found.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("request", lambda asked: wrong.append(asked.url) if "//127.0.0.1" not in asked.url[:20] else None)
    yield found
    context.close()
    assert [text for text in wrong if not text.startswith(("data:", "blob:"))] == []
