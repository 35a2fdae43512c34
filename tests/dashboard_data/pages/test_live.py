"""Studies that run, and stores that take their time, in a browser."""

import threading
import time

import pytest

pytest.importorskip("playwright.sync_api")

from browse_store import trial, write_study
from browsing import RANGES, Served, wait_for_points, zoom
from playwright.sync_api import expect

from eos_platform.cli.dashboard import make


def test_a_study_that_runs_is_followed_without_losing_the_zoom(page, tmp_path):
    recorder = write_study(tmp_path, "live", "live")
    served = Served(tmp_path)
    try:
        page.goto(f"{served.address}/?study=live")
        wait_for_points(page, {"Pareto front (validation)": 4, "dominated": 2})
        before = zoom(page)
        row = trial(7, accuracy=0.97, ratio=0.3)
        run = recorder.start_trial(row)
        expect(page.locator("#live")).to_have_text("7 of 8 trials done, 1 running")
        recorder.finish_trial(run, row)
        # better than trials 4 and 5, which leave the front
        wait_for_points(page, {"Pareto front (validation)": 4, "dominated": 3})
        expect(page.locator("#live")).to_have_text("8 of 8 trials done")
        expect(page.locator("#front-best")).to_contain_text("searched 97.0 % at compute 0.300 (trial 7)")
        assert page.evaluate(RANGES) == before
    finally:
        page.goto("about:blank")  # else it would complain of a server that is gone
        served.stop()


def test_a_study_that_has_just_begun(page, tmp_path):
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


def test_a_store_slower_than_the_pulse_is_waited_for(page, store):
    served = Served(store)
    names, seen = served.studies.names, threading.Event()

    def slow():
        seen.wait(60)  # the reader has seen the words of patience
        time.sleep(1.0)  # three pulses
        return names()

    served.studies.names = slow
    try:
        page.goto(served.address)
        expect(page.locator("#listing")).to_have_text("Loading the studies …")
        seen.set()
        expect(page.locator("#listing tbody tr")).to_have_count(1)
        expect(page.locator("#live")).to_have_text("1 study")
    finally:
        seen.set()
        page.goto("about:blank")
        served.stop()


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
