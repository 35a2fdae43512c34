"""An operator's page in a browser."""

import pytest

pytest.importorskip("playwright.sync_api")

from browse_store import end_study, write_study
from browsing import Served
from mlflow import MlflowClient
from playwright.sync_api import expect

from eos_platform.common.errors import EosError
from eos_platform.dashboards.app.table import as_csv, columns_of


def test_a_trials_settings_seed_and_curves_are_on_its_page(page, served, studies):
    keys = studies.operators("small").set_index("name")["key"]
    page.goto(f"{served.address}/?study=small&view=operator&run={keys['trial 3']}")
    expect(page.locator("#operator-settings")).to_contain_text("learning_rate0.033")
    expect(page.locator("#operator-body .facts").first).to_contain_text("search time12 s")
    expect(page.locator("#operator-body .facts").first).to_contain_text("seed0")
    expect(page.locator("#operator-curves")).to_contain_text("No curves were logged")


def test_the_picture_stands_beside_the_answer_given_and_whether_it_is_right(page, served, studies):
    keys = studies.operators("small").set_index("name")["key"]
    page.goto(served.study(view="operator", run=keys["trial 3"]))
    pictures = page.locator("#operator-kept .picture")
    expect(pictures).to_have_count(4)
    expect(pictures.first).to_contain_text("what color is picture 0? (answer: red)")
    expect(pictures.first.locator("img")).to_have_count(2)  # as it is, and what stays of it
    expect(pictures.first).to_contain_text("trial 3, 10 tokens left")
    expect(page.locator("#operator-kept b.right")).to_have_count(3)
    expect(page.locator("#operator-kept b.wrong")).to_have_count(1)
    expect(pictures.last).to_contain_text("nothing: wrong")
    page.goto(served.study(view="operator", run=keys["trial 2"]))  # not on the front: nobody asked it
    expect(page.locator("#operator-kept")).to_contain_text("only the operators in the final comparison")


def test_a_note_is_kept_where_mlflow_keeps_notes_and_shown_as_plain_text(page, tmp_path):
    end_study(write_study(tmp_path))
    served = Served(tmp_path)
    key = served.studies.operators("small").set_index("name")["key"]["trial 3"]
    note = "Good on <b>text</b>,\n=not a formula"
    try:
        page.goto(served.study(view="operator", run=key))
        field, said = page.get_by_label("Note (saved as"), page.locator("#note-said")
        field.fill(note)
        page.get_by_role("button", name="Save note").click()
        expect(said).to_have_text("Saved")
        description = MlflowClient(served.studies.uri).get_run(key).data.tags["mlflow.note.content"]
        assert description.startswith(note)
        assert "load_operator" in description  # what the platform wrote is still there
        page.goto(served.study(view="table", find="formula"))
        expect(page.locator("#table-body tbody tr")).to_have_count(1)
        expect(page.locator("#table-body tbody")).to_contain_text("Good on <b>text</b>,")
        assert as_csv(served.studies.operators("small").dropna(subset="note"), columns_of((), (), ())).count(note) == 1
        page.goto(served.study(view="operator", run=key))
        expect(field).to_have_value(note)
        field.fill("")
        page.get_by_role("button", name="Save note").click()
        expect(said).to_have_text("Removed")
        assert MlflowClient(served.studies.uri).get_run(key).data.tags["mlflow.note.content"].startswith("**")
    finally:
        page.goto("about:blank")
        served.stop()


def test_a_note_from_elsewhere_or_too_long_is_refused(studies, served):
    key = studies.operators("small")["key"][0]
    client = served.app.server.test_client()
    calls = client.get("/_dash-dependencies").json
    call = next(one for one in calls if one["inputs"] == [{"id": "note-save", "property": "n_clicks"}])
    where = {"study": "small", "view": "operator", "run": key, "with": []}

    def put(text, **headers):
        output = {"id": "note-said", "property": call["output"].rpartition(".")[2]}
        body = {"output": call["output"], "outputs": output, "changedPropIds": ["note-save.n_clicks"]}
        body["inputs"] = [{"id": "note-save", "property": "n_clicks", "value": 1}]
        places = {"note-text": ("value", text), "where": ("data", where)}
        body["state"] = [{"id": one, "property": name, "value": value} for one, (name, value) in places.items()]
        return client.post("/_dash-update-component", json=body, headers=headers)

    assert put("x", Origin="https://evil.example").status_code == 403
    assert put("x", Host="evil.example").status_code == 400
    assert put("x" * 2001).status_code == 400
    assert served.studies.note("small", key) == ""
    with pytest.raises(EosError, match="at most 2000 characters"):
        served.studies.write_note("small", key, "x" * 2001)
