"""The dashboard in a real browser that can reach nothing but it: what is there, what clicks do, what is live."""

import logging
import math
import re
import shutil
import sys
import threading
import time

import pandas as pd
import pytest
from typer.testing import CliRunner
from werkzeug.serving import make_server

from eos_platform.cli.app import app as command
from eos_platform.cli.dashboard import make
from eos_platform.dashboard_data.studies import Studies

pytest.importorskip("dash")
playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 30_000  # milliseconds, on a busy machine
GRAPH = "document.querySelector('#front-graph .js-plotly-plot')"


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


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(store):
    found = Served(store)
    yield found
    found.stop()


@pytest.fixture
def page(browser):
    """A page whose console must stay free of errors, and which asks for nothing from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="light")
    context.set_default_timeout(PATIENCE)
    found = context.new_page()
    wrong = []
    found.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("request", lambda asked: wrong.append(asked.url) if "//127.0.0.1" not in asked.url[:20] else None)
    expect.set_options(timeout=PATIENCE)
    yield found
    context.close()
    assert [text for text in wrong if not text.startswith(("data:", "blob:"))] == []


def points(page):
    """Points drawn, by the name of the trace; without those that only carry a line."""
    return page.evaluate(
        f"Object.fromEntries(({GRAPH}?.data ?? []).filter(t => t.showlegend !== false).map(t => [t.name, t.x.length]))"
    )


def wait_for(page, wanted):
    page.wait_for_function(
        f"wanted => {{ const d = {GRAPH}?.data; return d && JSON.stringify(Object.fromEntries("
        "d.filter(t => t.showlegend !== false).map(t => [t.name, t.x.length]).sort())) "
        "=== JSON.stringify(Object.fromEntries(Object.entries(wanted).sort())); }",
        arg=wanted,
    )


RANGES = f"[{GRAPH}.layout.xaxis.range, {GRAPH}.layout.yaxis.range]"


def zoom(page):
    """Drag a box over most of the front, as a person does; the ranges then."""
    before = page.evaluate(RANGES)
    box = page.locator("#front-graph .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 0.02 * box["width"], box["y"] + 0.02 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.9 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(f"before => JSON.stringify({RANGES}) !== JSON.stringify(before)", arg=before)
    return page.evaluate(RANGES)


ALL = {"Pareto front (held-out)": 4, "dominated (validation)": 2, "fastv": 1, "unreduced model": 1}


@needs_chromium
def test_from_the_list_of_studies_to_the_front(page, served):
    page.goto(served.address)
    row = page.locator("#listing tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("A small study")
    expect(row).to_contain_text("7 of 8")
    row.get_by_role("link", name="small").click()
    wait_for(page, ALL)
    assert re.search("study=small", page.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("small")
    expect(page.locator("#front-best")).to_contain_text("searched 91.0 % at 0.350 (trial 5); hand-designed 60.0 %")
    expect(page.locator("#front-picked tbody tr")).to_have_count(4)
    expect(page.locator("[data-title^='Download plot']")).not_to_have_count(0)
    expect(page.locator("[data-title^='Share']")).to_have_count(0)  # uploads


@needs_chromium
def test_filters_and_the_budget(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for(page, ALL)
    page.locator("#front-show").get_by_text("dominated").click()
    wait_for(page, {name: count for name, count in ALL.items() if not name.startswith("dominated")})
    page.locator("#front-families").get_by_text("hand-designed").click()
    wait_for(page, {"Pareto front (held-out)": 4, "unreduced model": 1})
    page.get_by_label("Budget as a number").fill("0.26")
    page.keyboard.press("Enter")
    expect(page.locator("#front-best")).to_contain_text("Best within 0.26: searched 87.0 % at 0.250 (trial 3)")
    assert page.evaluate(f"{GRAPH}.layout.shapes.length") == 2
    page.locator("#front-on").get_by_text("validation").click()
    expect(page.locator("#front-best")).to_contain_text("searched 88.0 % at 0.250 (trial 3)")


@needs_chromium
def test_a_click_opens_the_operator_and_back_keeps_the_zoom(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for(page, ALL)
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
    assert "/runs/" in page.locator("#mlflow-link").get_attribute("href")
    page.go_back()
    wait_for(page, ALL)
    assert page.evaluate(RANGES) == before


DRAW = '"output":"..front-graph.figure...'


@needs_chromium
def test_what_is_set_is_in_the_address_and_a_drag_is_one_update(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for(page, ALL)
    page.locator("#front-families").get_by_text("unreduced").click()
    page.get_by_label("Budget as a number").fill("0.3")
    page.keyboard.press("Enter")
    expect(page.locator("#front-best")).to_contain_text("Best within 0.3")
    page.wait_for_url("**families=searched,hand-designed&budget=0.3")
    asked = []
    page.on("request", lambda request: asked.append(request) if DRAW in (request.post_data or "") else None)
    thumb = page.get_by_role("slider", name="Budget (compute ratio at most)").bounding_box()
    page.mouse.move(thumb["x"] + 8, thumb["y"] + 8)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(thumb["x"] + 8 - step, thumb["y"] + 8)
    page.mouse.up()
    expect(page.locator("#front-best")).not_to_contain_text("Best within 0.3")
    page.wait_for_function("!location.search.endsWith('budget=0.3')")
    address, said, zoomed = page.url, page.locator("#front-best").inner_text(), zoom(page)
    assert len(asked) == 1
    page.wait_for_url("**zoom=x:**")
    address = page.url
    page.goto("about:blank")
    page.goto(address)  # as a bookmark would
    expect(page.locator("#front-best")).to_have_text(said)
    expect(page.locator("#front-families input:checked")).to_have_count(2)
    page.wait_for_function(
        f"r => {RANGES}.flat().every((end, k) => Math.abs(end - r[k]) < 1e-3)", arg=[*zoomed[0], *zoomed[1]]
    )


@needs_chromium
def test_any_measure_can_be_an_axis_and_nothing_left_says_why(page, served):
    page.goto(f"{served.address}/?study=small&x=mean_tokens")
    expect(page.locator("#front-graph .xtitle")).to_have_text("mean tokens (less is better)")
    page.goto(f"{served.address}/?study=small&z=mean_tokens")
    page.wait_for_function(f"{GRAPH}?.data?.some(trace => trace.type === 'scatter3d')")
    page.goto(f"{served.address}/?study=small&families=")
    expect(page.locator("#front-graph")).to_contain_text("8 measured operators, and none passes the filters")


@needs_chromium
def test_a_trials_settings_seed_and_curves_are_on_its_page(page, served, studies):
    keys = studies.operators("small").set_index("name")["key"]
    page.goto(f"{served.address}/?study=small&view=operator&run={keys['trial 3']}")
    expect(page.locator("#operator-settings")).to_contain_text("learning_rate0.033")
    expect(page.locator("#operator-body .facts").first).to_contain_text("search took12 s")
    expect(page.locator("#operator-body .facts").first).to_contain_text("seed0")
    expect(page.locator("#operator-curves")).to_contain_text("No curve was logged")


@needs_chromium
def test_heads_sort_columns_are_chosen_and_all_of_it_is_a_file(page, served):
    page.goto(f"{served.address}/?study=small&view=table&columns=compute_ratio,seconds")
    expect(page.locator("#table-body thead th")).to_have_text(["operator", "compute ratio", "search took (s)"])
    page.get_by_role("link", name="compute ratio").click()
    expect(page).to_have_url(re.compile("sort=-compute_ratio"))  # the row in front is the same as before
    expect(page.locator("#table-body tbody th").first).to_have_text("unreduced")
    page.get_by_role("link", name="compute ratio").click()
    expect(page.locator("#table-body tbody th").first).to_have_text("trial 0")
    with page.expect_download() as got:
        page.get_by_role("link", name="Download as CSV").click()
    rows = got.value.path().read_text().splitlines()
    assert len(rows) == 10
    assert "params.learning_rate" in rows[0]
    assert rows[1].startswith("trial 0,")


@needs_chromium
def test_operators_side_by_side(page, served):
    found = served.studies.operators("small").set_index("name")
    keys = ",".join(found.loc[["trial 1", "fastv at 0.2"], "key"])
    page.goto(f"{served.address}/?study=small&view=compare&with={keys}")
    table = page.locator("#compare-body table")
    expect(table.locator("thead th")).to_have_text(["", "trial 1", "fastv at 0.2"])
    expect(table).to_contain_text("79.0 %")
    row = table.get_by_role("row", name="difference from trial 1 (points, 95 %)")
    expect(row).to_contain_text(re.compile(r"-19\.0 \(-22\.[89] to -15\.0\)"))
    expect(table.get_by_role("row", name="better")).to_contain_text("trial 1, and cheaper")
    expect(page.locator("#compare-stairs .legendtext")).to_have_text(["trial 1", "fastv at 0.2"])
    expect(page.locator("#compare-skills .legendtext")).to_have_text(["trial 1", "fastv at 0.2"])
    expect(page.locator("#compare-diagram-1")).to_contain_text("144 → 30")


@needs_chromium
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
    page.get_by_role("link", name="Table").click()
    expect(page.locator("#table-body caption")).to_have_text("9 operators, page 1 of 1")
    page.get_by_label("Find").fill("hand-designed prune")
    expect(page.locator("#table-body tbody tr")).to_have_count(1)


@needs_chromium
def test_dark_and_by_keyboard(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for(page, ALL)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.get_by_role("button", name="Dark").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{GRAPH}.layout.paper_bgcolor === '#15181c'")
    page.locator("#front-picked tbody a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#operator-body h2")).to_contain_text("trial 0")
    expect(page.locator(":focus")).to_have_attribute("id", "content")
    for part in page.locator("figure:visible, nav, [role=search]:visible, section:visible").all():
        assert part.get_attribute("aria-label") or part.locator("figcaption").count()


@needs_chromium
def test_a_study_that_runs_is_followed_without_losing_the_zoom(page, tmp_path):
    from browse_store import trial, write_study

    recorder = write_study(tmp_path, "live", "live")
    served = Served(tmp_path)
    try:
        page.goto(f"{served.address}/?study=live")
        wait_for(page, {"Pareto front (validation)": 4, "dominated": 2})
        before = zoom(page)
        row = trial(7, accuracy=0.97, ratio=0.3)
        run = recorder.start_trial(row)
        expect(page.locator("#live")).to_have_text("7 of 8 trials done, 1 running")
        recorder.finish_trial(run, row)
        # better than trials 4 and 5, which leave the front
        wait_for(page, {"Pareto front (validation)": 4, "dominated": 3})
        expect(page.locator("#live")).to_have_text("8 of 8 trials done")
        expect(page.locator("#front-best")).to_contain_text("searched 97.0 % at 0.300 (trial 7)")
        assert page.evaluate(RANGES) == before
    finally:
        page.goto("about:blank")  # else it would complain of a server that is gone
        served.stop()


@needs_chromium
def test_a_study_that_has_just_begun(page, tmp_path):
    from browse_store import trial

    from eos_platform.tracking.recorder import Recorder

    recorder = Recorder(f"sqlite:///{tmp_path / 'mlflow.db'}", "new", "new", (tmp_path / "artifacts").as_uri())
    recorder.describe("name: new\n", "", {"model": "bundled-small"}, {"trials": 8})
    recorder.start_trial(trial(0, "running"))
    served = Served(tmp_path)
    try:
        page.goto(f"{served.address}/?study=new")
        expect(page.locator("#live")).to_have_text("0 of 8 trials done, 1 running")
        expect(page.locator("#front-graph")).to_contain_text("No operator measured yet")
    finally:
        page.goto("about:blank")
        served.stop()


@needs_chromium
def test_in_a_narrow_window_figures_scroll_and_the_page_does_not(page, served, studies):
    keys = studies.operators("small")["key"].tolist()
    page.set_viewport_size({"width": 400, "height": 800})
    for view, shown in (("front", "#front-graph"), ("operator", "#operator-diagram"), ("compare", "#compare-stairs")):
        page.goto(f"{served.address}/?study=small&view={view}&run={keys[0]}")
        page.locator(f"{shown} .main-svg").first.wait_for()
        page.wait_for_function(f"document.querySelector('{shown}').clientWidth >= 680")
        assert page.evaluate("document.documentElement.scrollWidth") == 400


@needs_chromium
def test_the_unreduced_model_has_a_colour_but_no_diagram(page, served, studies):
    keys = studies.operators("small").set_index("name")["key"]
    page.goto(f"{served.address}/?study=small&view=compare&with={keys['unreduced']},{keys['fastv at 0.2']}")
    found = "Object.fromEntries(document.querySelector('#compare-{} .js-plotly-plot').data.filter(t => t.name)"
    found += ".map(t => [t.name, t.marker.color ?? t.line.color]))"
    page.locator("#compare-skills .main-svg").first.wait_for()
    skills, stairs = (page.evaluate(found.format(part)) for part in ("skills", "stairs"))
    assert set(skills) == {"unreduced", "fastv at 0.2"}
    assert stairs["fastv at 0.2"] == skills["fastv at 0.2"] != skills["unreduced"]
    expect(page.locator("#compare-kept")).to_contain_text(
        "Tokens kept by unreduced on example pictures: This run has no"
    )


@needs_chromium
def test_a_store_slower_than_the_pulse_is_waited_for(page, store):
    served = Served(store)
    names = served.studies.names

    def slow():
        time.sleep(1.0)  # three pulses
        return names()

    served.studies.names = slow
    try:
        page.goto(served.address)
        expect(page.locator("#listing")).to_have_text("Reading the studies …")
        expect(page.locator("#listing tbody tr")).to_have_count(1)
        expect(page.locator("#live")).to_have_text("1 study")
    finally:
        page.goto("about:blank")
        served.stop()


@needs_chromium
def test_from_the_filters_on_by_keyboard_alone_to_an_operator(page, served):
    page.goto(f"{served.address}/?study=small")
    wait_for(page, ALL)
    table = page.get_by_role(
        "region", name="The Pareto front (held-out questions), cheapest first: a name opens its operator"
    )
    expect(table.get_by_role("link")).to_have_text(["trial 0", "trial 1", "trial 3", "trial 5"])
    slider = page.get_by_role("slider", name="Budget (compute ratio at most)")
    slider.focus()
    focused = page.locator(":focus")
    for _ in range(16):  # every control before the plot has the focus once; the plot's own buttons have not
        page.keyboard.press("Tab")
        if focused.inner_text().startswith("Skip the plot"):
            break
    expect(focused).to_have_text("Skip the plot, to the table of its operators")
    page.keyboard.press("Enter")
    for _ in range(3):  # the table, its first two rows
        page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("trial 1")
    page.keyboard.press("Enter")
    expect(page.locator("#operator-body h2")).to_contain_text("trial 1")


@needs_chromium
def test_the_fields_of_the_table_have_one_border_and_room(page, served):
    page.goto(f"{served.address}/?study=small&view=table")
    find = page.get_by_label("Find")
    expect(find).to_be_visible()
    assert find.evaluate("field => getComputedStyle(field).borderTopWidth") == "0px"
    words = "field => { const c = document.createElement('canvas').getContext('2d'); const s = getComputedStyle(field);"
    words += " c.font = `${s.fontSize} ${s.fontFamily}`; return c.measureText(field.placeholder).width"
    words += " - (field.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight)); }"
    assert find.evaluate(words) < 0


@needs_chromium
def test_six_operators_side_by_side_keep_title_and_legend_apart(page, store):
    served = Served(store)
    found = served.studies.operators
    served.studies.operators = lambda *asked: found(*asked).assign(name=lambda rows: "a long name, " + rows["name"])
    keys = ",".join(found("small")["key"].tolist()[:6])
    try:
        page.goto(f"{served.address}/?study=small&view=compare&with={keys}")
        for part in ("#compare-stairs", "#compare-skills"):
            page.locator(f"{part} .legend").wait_for()
            title, legend = (page.locator(f"{part} {name}").bounding_box() for name in (".gtitle", ".legend"))
            assert title["y"] + title["height"] <= legend["y"]
    finally:
        page.goto("about:blank")
        served.stop()


def operators(*rows):
    columns = ["key", "family", "front", "accuracy", "compute_ratio"]
    return pd.DataFrame(rows, columns=columns)


def test_the_first_choice_is_compared_at_its_compute_or_the_nearest():
    from eos_platform.dashboards.app.compare import first_choice

    mine = ("mine", "searched", True, 0.9, 0.134)
    near = [("a", "hand-designed", False, 0.70, 0.12), ("b", "hand-designed", False, 0.75, 0.15)]
    far = [("c", "hand-designed", False, 0.95, 0.400), ("d", "hand-designed", False, 0.60, 0.200)]
    assert first_choice(operators(mine, *near, *far)) == ["mine", "b"]
    assert first_choice(operators(mine, *far)) == ["mine", "d"]
    assert first_choice(operators(mine, ("e", "hand-designed", False, 0.6, math.nan))) == ["mine"]
    assert first_choice(operators(*far)) == []


def test_without_dash_it_says_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "dash", None)
    done = CliRunner().invoke(command, ["dashboard", "--studies", str(store)])
    assert done.exit_code == 2
    assert "pip install 'eos-platform[dashboard]'" in done.output


def test_bad_input_is_one_line(tmp_path, store):
    done = CliRunner().invoke(command, ["dashboard", "--studies", str(tmp_path)])
    assert done.exit_code == 2
    assert "no MLflow store" in done.output
    taken = make_server("127.0.0.1", 0, lambda *call: [])
    port = str(taken.server_port)
    done = CliRunner().invoke(command, ["dashboard", "--studies", str(store), "--port", port])
    taken.server_close()
    assert done.exit_code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in done.output


def test_nothing_is_sent_while_nothing_changed(store):
    app = make(f"sqlite:///{store / 'mlflow.db'}", "http://127.0.0.1:5000")
    client = app.server.test_client()
    calls = client.get("/_dash-dependencies").json
    pulse = next(call for call in calls if [part["id"] for part in call["inputs"]] == ["tick"])

    def ask(seen):
        where = {"study": "small", "view": "front", "run": "", "with": []}
        body = {
            "output": pulse["output"],
            "outputs": [],
            "inputs": [{"id": "tick", "property": "n_intervals", "value": 1}],
            "changedPropIds": ["tick.n_intervals"],
            "state": [
                {"id": "where", "property": "data", "value": where},
                {"id": "version", "property": "data", "value": seen},
            ],
        }
        return client.post("/_dash-update-component", json=body)

    first = ask("")
    assert first.status_code == 200
    version = first.json["sideUpdate"]["version"]["data"]
    assert ask(version).status_code == 204
