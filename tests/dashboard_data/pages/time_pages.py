"""How long the dashboard of a large store takes: ``python tests/dashboard_data/pages/time_pages.py FOLDER STUDY``.

    python -m eos_platform.tracking.generate --trials 5000 --out many-runs
    python tests/dashboard_data/pages/time_pages.py many-runs many

Seconds in a real Chromium, from the key or click until the page shows what was asked for: medians and the slowest of
``--rounds``, and beside them the seconds of CPU that the server and the page's own thread took for it: their sum is
what a quiet machine would need. The server's first look at the store is told apart. Last, its memory after every view.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GRAPH = "document.querySelector('#front-graph .js-plotly-plot')"
DRAWN = f"() => {GRAPH}?._fullLayout?._size && {GRAPH}.data.some(t => t.name.startsWith('Pareto front'))"
SHOWN = f"{GRAPH}._fullData.filter(t => t.showlegend !== false).reduce((sum, t) => sum + t.x.length, 0)"
# where the middle point of the front is in the window
PLACE = f"""() => {{
    const graph = {GRAPH}, {{xaxis, yaxis}} = graph._fullLayout, box = graph.getBoundingClientRect();
    const front = graph._fullData.find(t => t.name.startsWith('Pareto front') && t.mode.includes('markers'));
    const k = Math.floor(front.x.length / 2);
    return [box.x + xaxis._offset + xaxis.d2p(front.x[k]), box.y + yaxis._offset + yaxis.d2p(front.y[k])];
}}"""


class Server:
    """``eos dashboard`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "eos_platform", "dashboard", "--studies", str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = next(word for word in self.process.stdout.readline().split() if word.startswith("http://"))
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(self.address, timeout=2):
                break
            time.sleep(0.1)

    def cpu(self) -> float:
        """Seconds of CPU until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Megabytes that are resident now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) / 1024


Times = dict[str, tuple[float, float, float]]  # of each act: seconds by the clock, of the server's and the page's CPU


class Clock:
    """Times one act after the other."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server, self.found = server, Times()
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.start()

    def now(self) -> tuple[float, float, float]:
        metrics = {one["name"]: one["value"] for one in self.session.send("Performance.getMetrics")["metrics"]}
        return time.monotonic(), self.server.cpu(), metrics["TaskDuration"]

    def start(self) -> None:
        self.begun = self.now()

    def stop(self, what: str) -> None:
        clock, server, page = (now - before for now, before in zip(self.now(), self.begun, strict=True))
        self.found[what] = clock, server, page


VIEWS = {
    "health": "#health-parallel .axis-title",
    "table": "#table-body tbody tr",
    "compare": "#compare-skills .main-svg",
    "front": "#front-picked tbody tr",
}


def a_round(page: Page, server: Server, study: str) -> Times:
    """Everything once, on a page that was just opened."""
    clock = Clock(server, page)
    page.goto(f"{server.address}/?study={study}")
    page.wait_for_function(DRAWN)
    clock.stop("open the front")
    fewer, more = f"n => {SHOWN} < n", f"n => {SHOWN} > n"
    for what, box in {
        "hide the dominated": "#front-show >> text=dominated",
        "hide a family": "#front-families >> text=hand-designed",
    }.items():
        for name, ready in ((what, fewer), (what.replace("hide", "show"), more)):
            before = page.evaluate(SHOWN)
            clock.start()
            page.locator(box).first.click()
            page.wait_for_function(ready, arg=before)
            clock.stop(name)
    page.locator("#front-budget-slider [role=slider]").focus()
    clock.start()
    page.keyboard.press("PageDown")
    page.wait_for_function("() => document.querySelector('#front-best').innerText.includes('Best within')")
    clock.stop("move the budget")
    page.keyboard.press("End")
    page.wait_for_function("() => !document.querySelector('#front-best').innerText.includes('Best within')")
    page.wait_for_function(f"() => !{GRAPH}.layout.shapes?.length")
    page.mouse.move(*page.evaluate(PLACE))
    page.wait_for_selector("#front-graph .hoverlayer .hovertext")
    clock.start()
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#operator-diagram .main-svg")
    clock.stop("click a point")
    for view, ready in VIEWS.items():
        clock.start()
        page.locator("nav").get_by_role("link", name=view.capitalize()).click()
        page.wait_for_selector(f"#content.show-{view} {ready}")
        clock.stop(f"go to {view}")
    return clock.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("study")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    server, rounds = Server(given.folder), []
    print(f"the server, started: {server.memory():.0f} MB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            for _ in range(given.rounds + 1):
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                page.set_default_timeout(120_000)
                rounds.append(a_round(page, server, given.study))
                page.close()
            browser.close()
        memory = server.memory()
    finally:
        server.process.terminate()
        server.process.wait()
    first, *rest = rounds
    print(f"{'seconds, medians':36}{'clock':>10}{'slowest':>10}{'server CPU':>12}{'page CPU':>10}")
    for what, (clock, cpu, drawn) in first.items():
        if what == "open the front" or what.startswith("go to"):
            print(f"{what + ', the first time':36}{clock:10.2f}{'':>10}{cpu:12.2f}{drawn:10.2f}")
    for what in first:
        taken, spent, drawing = (list(column) for column in zip(*(one[what] for one in rest), strict=True))
        middle = [statistics.median(column) for column in (taken, spent, drawing)]
        print(f"{what:36}{middle[0]:10.2f}{max(taken):10.2f}{middle[1]:12.2f}{middle[2]:10.2f}")
    print(f"the server after every view: {memory:.0f} MB; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
