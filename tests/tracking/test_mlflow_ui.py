"""What a person sees in MLflow's own pages, in a real browser that can reach nothing but the server beside it."""

import base64
import gzip
import re
from pathlib import Path

import mlflow
import pytest
from mlflow_browser import CHROMIUM, browser, mlflow_server

from eos_platform.dashboards.palette import colour_of
from eos_platform.tracking import load_operator, names, read_study
from eos_platform.tracking.client import connect, search_runs
from eos_platform.tracking.generate import DESIGNS, generate, generate_into
from eos_platform.tracking.mlflow_ui.views import FRONT, HEALTH, VERSUS, run_url, view_url
from eos_platform.tracking.reading.studies import front_url
from eos_platform.tracking.registry import default_store

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)"),
    # MLflow's server takes ten seconds to start, and its page some seconds for each look
    pytest.mark.slow,
]
TRIALS = 14
POINTS = """Array.from(document.querySelectorAll('.js-plotly-plot')).map(
    plot => (plot.data || []).map(trace => ({
        type: trace.type, x: Array.from(trace.x || []), y: Array.from(trace.y || []),
        color: [].concat((trace.marker || {}).color || [])})))"""
DRAWN = "document.querySelectorAll('.js-plotly-plot .main-svg').length >= {count}"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("runs"), TRIALS)


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    with mlflow_server(store, tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile"), height=1800) as one:  # charts below the window are not drawn
        yield one


@pytest.fixture(scope="module")
def runs(store):
    client = connect(store)
    return search_runs(client, client.get_experiment_by_name("many").experiment_id, "")


def where(runs, kind, **tags):
    run = next(
        run
        for run in runs
        if run.data.tags.get(names.KIND) == kind and all(run.data.tags.get(tag) == value for tag, value in tags.items())
    )
    return run.info


def test_the_front_opens_by_one_address(server, page, store):
    page.open(front_url(server, "many"))
    page.wait("document.querySelectorAll('.js-plotly-plot:has(.main-svg)').length >= 3")
    for words in ("Pareto front", "Held-out: front, designs", "Validation: searches", "unreduced", "fastv at 0.200"):
        page.wait(f"document.body.innerText.includes('{words}')")
    trials = read_study("many", store, operators=False)
    lines, (held, *_), (validated, *_) = page.js(POINTS)
    on_front = trials[trials["pareto"]]
    ratios = pytest.approx(sorted(on_front["compute_ratio"]))
    lines = [trace for trace in lines if len(trace["x"]) == len(on_front) and trace["x"] == ratios]
    front, low, high = lines[::2]  # each is drawn once more, faint, as it is without smoothing
    assert all(a < b < c for a, b, c in zip(low["y"], front["y"], high["y"], strict=True))
    assert held["type"] == "scatter"
    drawn = {round(x, 6): color for x, y, color in zip(held["x"], held["y"], held["color"], strict=True) if y}
    assert {drawn[round(ratio, 6)] for ratio in on_front["compute_ratio"]} == {names.COLORS["searched"]}
    assert drawn[1.0] == names.COLORS["unreduced"]
    assert drawn[0.2] in {colour_of("hand-designed", design) for design in DESIGNS}
    assert names.COLORS["dominated"] in validated["color"]
    # no chart but those of the view: each metric without one would get its own
    assert len(page.js(POINTS)) == 3


def test_the_front_is_filtered_by_typing(server, page, store):
    page.open(front_url(server, "many"))
    page.wait(DRAWN.format(count=2))
    field = "Array.from(document.querySelectorAll('input')).find(field => field.value.includes('eos.shown'))"
    page.click(*page.js(f"(box => [box.x + 60, box.y + box.height / 2])({field}.getBoundingClientRect())"))
    page.key("End", 35)
    page.type(" and tags.design = 'fastv'")
    page.wait(f"{field}.value.includes('fastv')")
    page.key("Escape", 27)  # the suggestions
    page.key("Enter", 13)
    page.wait("document.body.innerText.includes('4 matching runs')")


def test_searched_beside_hand_designed(server, page, runs):
    page.open(view_url(where(runs, "study").experiment_id, VERSUS, server))
    page.wait(DRAWN.format(count=2))
    count = sum(names.HELDOUT_ACCURACY in run.data.metrics for run in runs)
    for words in ("Searched vs hand-designed", f"{count} matching runs"):
        page.wait(f"document.body.innerText.includes('{words}')")


def test_the_health_of_a_search(server, page, runs):
    page.open(view_url(where(runs, "study").experiment_id, HEALTH, server))
    page.wait(DRAWN.format(count=2))
    page.wait("document.querySelector('.js-plotly-plot').data.some(trace => (trace.x || []).length > 1)")
    for words in (f"{TRIALS} matching runs", "search/loss", "Sort: end_time", "Parallel Coordinates"):
        page.wait(f"document.body.innerText.includes('{words}')")


def test_a_trial_tells_what_its_operator_does(server, page, runs):
    info = where(runs, "trial", pareto="true")
    page.open(run_url(info.experiment_id, info.run_id, server))
    page.wait("document.body.innerText.includes('before the language model, 576 to')")
    assert "Evaluation runs" not in page.text()  # what MLflow's pages for agents would call it
    assert re.search(r"family\s*:\s*searched", page.text())
    page.open(f"{server}/#/experiments/{info.experiment_id}/runs/{info.run_id}/artifacts/{names.SITES_PICTURE}")
    page.wait("Array.from(document.images).some(image => image.naturalWidth == 1000)")


def test_the_front_is_among_the_artifacts_with_all_it_needs(server, page, runs, store, tmp_path):
    info = where(runs, "study")
    page.open(f"{server}/#/experiments/{info.experiment_id}/runs/{info.run_id}")
    page.wait("document.body.innerText.includes('made-up trials')")
    page.wait(r"/Registered models[^]*many\s+v1/.test(document.body.innerText)")
    page.open(f"{server}/#/experiments/{info.experiment_id}/runs/{info.run_id}/artifacts/pareto.html")
    page.wait("document.querySelector('iframe')")
    # what the frame shows is sandboxed away from here; the browser test of the figures draws the same file
    file = connect(store).download_artifacts(info.run_id, "pareto.html", str(tmp_path))
    packed = re.search('id="plotly-packed">([^<]+)<', Path(file).read_text())
    assert packed is not None
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed[1]))


def test_a_registered_operator(server, page, runs):
    page.open(f"{server}/#/models/many")
    page.wait("document.body.innerText.includes('champion')")
    page.wait("document.body.innerText.includes('ratio-0_')")
    page.open(f"{server}/#/models/many/versions/1")
    page.wait("document.body.innerText.includes('held-out accuracy')")
    page.wait("document.body.innerText.includes('@ratio-0_')")


def test_the_server_gives_what_the_file_gives(server, store):
    ours, theirs = (read_study("many", uri) for uri in (store, server))
    assert theirs["name"].tolist() == ours["name"].tolist()
    assert theirs["operator"].notna().sum() == ours["operator"].notna().sum() > TRIALS / 2
    assert load_operator("models:/many@champion", server) == load_operator("models:/many@champion", store)
    with default_store(server):
        model = mlflow.pyfunc.load_model("models:/many@champion")
    assert model.unwrap_python_model().operator == load_operator("models:/many@champion", store)


def test_a_view_the_page_does_not_know_leaves_its_table(server, page, runs):
    page.open(view_url(where(runs, "study").experiment_id, "none-of-ours", server))
    page.wait("document.body.innerText.includes('does not exist') || document.body.innerText.includes('many')")


def test_a_study_recorded_through_a_server(server, tmp_path):
    """The same code writes to a server: runs, artifacts, views and registered operators."""
    generate_into(server, None, 4, "served", 3)
    found = read_study("served", server)
    assert found["operator"].notna().sum() > 4
    assert load_operator("models:/served@champion", server).tokens_left > 0
    experiment = connect(server).get_experiment_by_name("served")
    assert names.VIEW + FRONT in experiment.tags
