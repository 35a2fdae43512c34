"""A study read back from a real MLflow store, by its tables and by the client."""

import math

import pytest
from browse_store import trial, write_study

from eos_platform.common.errors import EosError
from eos_platform.dashboard_data import frames
from eos_platform.dashboard_data.studies import Studies
from eos_platform.tracking.reading.run_reader import ClientReader, SqliteReader


def test_tables_and_client_tell_the_same(store):
    uri = f"sqlite:///{store / 'mlflow.db'}"
    tables, client = SqliteReader(uri), ClientReader(uri)
    (mine,), (theirs,) = tables.parents(), client.parents()
    assert mine == theirs
    left, right = tables.children(mine, {}), client.children(theirs, {})
    assert left == right
    assert len(left) == 9
    assert tables.children(mine, left) == client.children(theirs, right) == left


def test_one_row_an_operator(studies):
    found = studies.operators("small").set_index("name")
    assert len(found) == 9
    assert found.at["trial 3", "accuracy"] == pytest.approx(0.87)
    assert found.at["trial 3", "validation"] == pytest.approx(0.88)
    assert found.at["trial 3", "measured_on"] == "held-out"
    assert found.at["trial 2", "measured_on"] == "validation"
    assert found.at["trial 2", "questions"] == 512
    assert found.at["trial 2", "accuracy_low"] < 0.78 < found.at["trial 2", "accuracy_high"]
    assert math.isnan(found.at["trial 6", "accuracy"])
    assert found.at["trial 6", "failure"] == "ValueError: the loss exploded"
    assert found.at["fastv at 0.2", "skill:count"] == pytest.approx(0.55)
    assert found.index[found["front"]].tolist() == ["trial 0", "trial 1", "trial 3", "trial 5"]


def test_a_metric_that_is_no_number_is_none(tmp_path):
    recorder = write_study(tmp_path, "odd", "odd")
    for number, accuracy in ((7, math.inf), (8, math.nan)):
        row = trial(number, accuracy=accuracy, ratio=0.2)
        recorder.finish_trial(recorder.start_trial(row), row)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    found = Studies(uri).operators("odd").set_index("name")
    assert found.loc[["trial 7", "trial 8"], "accuracy"].isna().all()
    tables, client = SqliteReader(uri), ClientReader(uri)
    assert tables.children(tables.parents()[0], {}) == client.children(client.parents()[0], {})


def test_validation_measures_all_trials_alike(studies):
    found = studies.operators("small", "validation").set_index("name")
    assert set(found["measured_on"].dropna()) == {"validation"}
    assert found.at["trial 3", "accuracy"] == pytest.approx(0.88)
    assert math.isnan(found.at["fastv at 0.2", "accuracy"])


def test_hypervolume_never_falls_and_ends_at_the_front(studies):
    progress = studies.progress("small")
    assert len(progress) == 6
    assert progress["hypervolume"].is_monotonic_increasing
    assert progress["hypervolume"].iloc[-1] == pytest.approx(0.05 * 0.70 + 0.10 * 0.80 + 0.10 * 0.88 + 0.65 * 0.92)


def test_counts_and_time_left(studies):
    counts = studies.remaining("small")
    assert {name: counts[name] for name in ("complete", "failed", "running", "done", "target", "left")} == {
        "complete": 6,
        "failed": 1,
        "running": 0,
        "done": 7,
        "target": 8,
        "left": 1,
    }
    assert counts["eta"] is None  # nothing is running
    running = studies.operators("small").assign(end=lambda found: found["start"] + 10)
    running.loc[running["name"] == "trial 5", ["state", "end"]] = ["running", None]
    begun = running.loc[running["name"] == "trial 5", "start"].iloc[0]
    assert frames.remaining(running, 8, begun + 4)["eta"] == pytest.approx(2 * 10 - 4)


def test_what_was_varied_and_what_it_matters(studies):
    assert studies.varied("small") == ["budget", "learning_rate"]
    assert studies.settings("small")["budget"].tolist()[:2] == [0.10, 0.15]
    shares = studies.importance("small")  # of six trials; four are enough
    assert shares.groupby("objective")["share"].sum().round(6).tolist() == [1.0, 1.0]


def test_importance_finds_the_parameter_that_matters(studies):
    found = studies.operators("small")
    many = frames.pd.concat([found[found["state"] == "complete"]] * 4, ignore_index=True).dropna(subset=["trial"])
    many["trial"] = range(len(many))
    many["params.budget"] = [f"{0.1 + 0.01 * number}" for number in range(len(many))]
    many["params.learning_rate"] = [f"{0.1 + (7 * number % 24) / 100}" for number in range(len(many))]
    many["validation"] = many["compute_ratio"] = many["params.budget"].astype(float)
    shares = frames.importance(many).set_index(["objective", "parameter"])["share"]
    for objective in ("accuracy", "compute ratio"):
        assert shares[objective, "budget"] > 0.7
        assert shares[objective].sum() == pytest.approx(1)
    few = many.head(6).assign(**{"params.learning_rate": ["0.3", "0.1", "0.6", "0.2", "0.5", "0.4"]})
    shares = frames.importance(few).set_index(["objective", "parameter"])["share"]
    assert shares["compute ratio", "budget"] > 0.6  # no value occurs twice, and yet they have an order


def test_an_operator_its_diagram_and_its_lines_to_copy(studies, store):
    found = studies.operators("small").set_index("name")
    key = found.at["trial 3", "key"]
    layers, sites = studies.diagram("small", key)
    assert layers["tokens"].tolist() == [20, 20, 20, 10, 10, 10]
    assert sites[["before", "after", "regime"]].values.tolist() == [[144, 20, "merge"], [20, 10, "prune"]]
    assert studies.operator("small", found.at["unreduced", "key"]) is None
    commands = studies.commands("small", key)
    assert commands["attach"].startswith('model = eos_platform.attach(model, "')
    assert commands["cli"].endswith("operator.json --model bundled-small")
    assert commands["link"].endswith(f"/runs/{key}?workflowType=machine_learning")
    assert commands["link"].startswith("http://127.0.0.1:5000/#/experiments/")


def test_the_listing(studies):
    (line,) = studies.listing().to_dict("records")
    assert (line["name"], line["kind"], line["model"], line["state"]) == ("small", "study", "bundled-small", "complete")
    assert (line["trials"], line["target"], line["front"]) == (7, 8, 4)
    assert line["description"] == "A small study"


def test_what_is_not_there_is_said(studies, tmp_path):
    with pytest.raises(EosError, match="unknown study 'smal'; did you mean 'small'"):
        studies.operators("smal")
    with pytest.raises(EosError, match="no MLflow store at"):
        Studies(f"sqlite:///{tmp_path / 'none.db'}")
    (tmp_path / "other.db").write_text("no database" * 100)
    with pytest.raises(EosError, match="cannot read the MLflow store"):
        Studies(f"sqlite:///{tmp_path / 'other.db'}").names()


def test_runs_are_there_while_a_study_that_ended_is_read_again(tmp_path, monkeypatch):
    """Between the look that finds it ended and the next reading of its runs."""
    monkeypatch.setattr("eos_platform.dashboard_data.studies.EVERY", 0.0)
    recorder = write_study(tmp_path)
    found = Studies(f"sqlite:///{tmp_path / 'mlflow.db'}")
    key = found.operators("small")["key"][0]
    recorder.close("FINISHED")
    found._look()
    assert found.operator("small", key) is not None
    assert found.facts("small")["state"] == "complete"
    assert len(found.operators("small")) == 7
