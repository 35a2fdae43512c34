"""How long the dashboard of a large store takes: ``python tests/dashboard_data/time_pages.py FOLDER STUDY``.

    python -m eos_platform.tracking.generate --trials 5000 --out many-runs
    python tests/dashboard_data/time_pages.py many-runs many

Seconds in a real Chromium, from the key or click until the page shows what was asked for: medians and the slowest of
``--rounds``. The server's first look at the store is told apart.
"""

import argparse
import logging
import shutil
import statistics
import threading
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import make_server

from eos_platform.cli.dashboard import make

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GRAPH = "document.querySelector('#front-graph .js-plotly-plot')"
DRAWN = f"() => {GRAPH}?._fullLayout?._size && {GRAPH}.data.some(t => t.name.startsWith('Pareto front'))"
SHOWN = f"{GRAPH}.data.filter(t => t.showlegend !== false).reduce((sum, t) => sum + t.x.length, 0)"
# where the middle point of the front is in the window
PLACE = f"""() => {{
    const graph = {GRAPH}, {{xaxis, yaxis}} = graph._fullLayout, box = graph.getBoundingClientRect();
    const front = graph._fullData.find(t => t.name.startsWith('Pareto front') && t.mode.includes('markers'));
    const k = Math.floor(front.x.length / 2);
    return [box.x + xaxis._offset + xaxis.d2p(front.x[k]), box.y + yaxis._offset + yaxis.d2p(front.y[k])];
}}"""


def timed(page: Page, act: str, ready: str, argument: object = None) -> float:
    """Seconds from what ``act`` clicks until ``ready`` holds."""
    begun = time.monotonic()
    page.locator(act).first.click()
    page.wait_for_function(ready, arg=argument)
    return time.monotonic() - begun


def a_round(page: Page, address: str, study: str) -> dict[str, float]:
    """Everything once, on a page that was just opened."""
    begun = time.monotonic()
    page.goto(f"{address}/?study={study}")
    page.wait_for_function(DRAWN)
    found = {"open the front": time.monotonic() - begun}
    fewer, more = f"n => {SHOWN} < n", f"n => {SHOWN} > n"
    for what, box in {
        "hide the dominated": "#front-show >> text=dominated",
        "hide a family": "#front-families >> text=hand-designed",
    }.items():
        found[what] = timed(page, box, fewer, page.evaluate(SHOWN))
        found[what.replace("hide", "show")] = timed(page, box, more, page.evaluate(SHOWN))
    page.locator("#front-budget-slider [role=slider]").focus()
    begun = time.monotonic()
    page.keyboard.press("PageDown")
    page.wait_for_function("() => document.querySelector('#front-best').innerText.includes('Best within')")
    found["move the budget"] = time.monotonic() - begun
    page.keyboard.press("End")
    page.wait_for_function("() => !document.querySelector('#front-best').innerText.includes('Best within')")
    page.mouse.move(*page.evaluate(PLACE))
    page.wait_for_selector("#front-graph .hoverlayer .hovertext")
    begun = time.monotonic()
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#operator-diagram .main-svg")
    found["click a point"] = time.monotonic() - begun
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("study")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1", 0, make(f"sqlite:///{given.folder.absolute()}/mlflow.db", "").server, threaded=True
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, rounds = f"http://127.0.0.1:{server.server_port}", []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(given.rounds + 1):
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.set_default_timeout(120_000)
            rounds.append(a_round(page, address, given.study))
            page.close()
        browser.close()
    server.shutdown()
    first, *rest = rounds
    print(f"{'open the front, the first time':32}{first['open the front']:8.2f} s")
    for what in first:
        taken = [one[what] for one in rest]
        print(f"{what:32}{statistics.median(taken):8.2f} s median{max(taken):8.2f} s slowest of {len(taken)}")


if __name__ == "__main__":
    main()
