"""The dashboard in a real browser that can reach nothing but it: what the tests of its pages share.

A test waits, after every act, for something that was not so before the act; only then comes the next. What is there
already is no answer: the page may not have been drawn since. ``EOS_BROWSER_SLOWDOWN=6`` makes the browser that many
times slower, to show that no test hangs on speed.
"""

import logging
import os
import shutil
import threading

from playwright.sync_api import expect
from werkzeug.serving import make_server

from eos_platform.dashboard_data.studies import Studies

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 60_000  # milliseconds, on a busy machine
SLOWDOWN = float(os.environ.get("EOS_BROWSER_SLOWDOWN", "1"))
GRAPH = "document.querySelector('#front-graph .js-plotly-plot')"
RANGES = f"[{GRAPH}.layout.xaxis.range, {GRAPH}.layout.yaxis.range]"
ALL = {"Pareto front (held-out)": 4, "dominated (validation)": 2, "fastv": 1, "unreduced model": 1}


class Served:
    """A store behind a server of its own."""

    def __init__(self, folder):
        from eos_platform.dashboards.app import make_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.studies = Studies(f"sqlite:///{folder / 'mlflow.db'}")
        self.app = make_app(self.studies, pulse=300)
        self.server = make_server("127.0.0.1", 0, self.app.server, threaded=True)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def study(self, **more):
        """The address of a place of the small study."""
        return f"{self.address}/?study=small" + "".join(f"&{name}={value}" for name, value in more.items())


def opened(browser, **options):
    """A context with a page, slowed down where that is asked for."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    if SLOWDOWN > 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    return context, page


def wait_for_points(page, wanted):
    """Until the front shows so many points of each trace; those without a legend only carry a line."""
    page.wait_for_function(
        f"wanted => {{ const d = {GRAPH}?.data; return d && JSON.stringify(Object.fromEntries("
        "d.filter(t => t.showlegend !== false).map(t => [t.name, t.x.length]).sort())) "
        "=== JSON.stringify(Object.fromEntries(Object.entries(wanted).sort())); }",
        arg=wanted,
    )


def wait_for_view(page, view):
    """Until that view is shown, and no other."""
    expect(page.locator(f"#content.show-{view}")).to_have_count(1)


def zoom(page):
    """Drag a box over most of the front, as a person does; the ranges then, which are in the address as well."""
    before = page.evaluate(RANGES)
    box = page.locator("#front-graph .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 0.02 * box["width"], box["y"] + 0.02 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.9 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(f"before => JSON.stringify({RANGES}) !== JSON.stringify(before)", arg=before)
    page.wait_for_url("**zoom=x:**")
    return page.evaluate(RANGES)


def wait_for_ranges(page, wanted):
    """Until the front shows these ranges, to the digits that the address has."""
    flat = [*wanted[0], *wanted[1]]
    page.wait_for_function(
        f"r => {GRAPH}?.layout?.xaxis?.range && {RANGES}.flat().every((end, k) => Math.abs(end - r[k]) < 1e-3)",
        arg=flat,
    )
