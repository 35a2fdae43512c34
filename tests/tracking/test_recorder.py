"""What is written to MLflow, read back with the plain client and with ``read_study``."""

import base64
import io
import json
import math
import re
import shlex
import time
from pathlib import Path

import pytest
from PIL import Image

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking import names, read_study
from eos_platform.tracking.notes import described, note_of
from eos_platform.tracking.reading.run_reader import reader
from eos_platform.tracking.reading.studies import front_url, open_command
from eos_platform.tracking.recorder import Recorder, probe
from eos_platform.tracking.rows import TrialRow

OPERATOR = OperatorSpec(
    name="s-0", target=Target(layers=4, grid=(4, 4)), sites=(SiteSpec(layer=1, keep=3, score={"norm": 1.0}),)
)
POINT = {
    "name": "fastv at 0.100",
    "family": "hand-designed",
    "accuracy": 0.5,
    "accuracy_low": 0.4,
    "accuracy_high": 0.6,
    "compute_ratio": 0.1,
    "mean_tokens": 30.0,
    "tokens_left": 20,
    "regime": "prune",
    "trial": None,
    "design": "fastv",
    "questions": 100,
}


def row(number=0, state="complete", **changes):
    values = {
        "ray_id": f"ray{number}",
        "params": {"budget": 0.2, "layers": (0, 2), "seed": None},
        "measured": {"accuracy": 0.8, "compute_ratio": 0.19} if state == "complete" else {},
        "operator": OPERATOR.to_json() if state == "complete" else None,
        "regime": "prune" if state == "complete" else None,
    }
    return TrialRow(number, state, **{**values, **changes})


def test_a_trial_from_start_to_end(make_recorder, uri, request):
    recorder = make_recorder()
    run_id = recorder.start_trial(row(state="running"))
    recorder.curves(run_id, 10, {"loss": 2.0})
    recorder.curves(run_id, 20, {"loss": 1.0, "temperature": math.nan})
    recorder.finish_trial(run_id, row())
    recorder.mark_front([0])
    recorder.close("FINISHED")

    run = recorder.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[names.PARENT] == recorder.parent
    assert {run.data.tags[name] for name in (names.FAMILY, names.REGIME, names.PARETO)} == {"searched", "prune", "true"}
    assert run.data.params == {"budget": "0.2", "layers": "[0, 2]", "seed": "None"}
    history = recorder.client.get_metric_history(run_id, "search/loss")
    assert [(metric.step, metric.value) for metric in history] == [(10, 2.0), (20, 1.0)]

    (trial,) = read_study(request.node.name, uri).to_dict("records")
    assert trial["run_id"] == run_id
    assert trial["operator"] == OPERATOR
    assert (trial["accuracy"], trial["compute_ratio"], trial["pareto"], trial["state"]) == (0.8, 0.19, True, "complete")
    assert recorder.client.get_run(recorder.parent).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("state", "status"),
    [("failed", "FAILED"), ("pruned", "KILLED"), ("interrupted", "KILLED"), ("complete", "FINISHED")],
)
def test_reconcile_closes_what_a_killed_driver_left_open(make_recorder, state, status):
    recorder = make_recorder()
    run_id = recorder.start_trial(row(state="running"))
    ended = row(state=state, failure="ValueError: x" if state == "failed" else None)
    again = make_recorder()
    assert again.parent == recorder.parent
    assert again.reconcile([ended]) == 1
    run = again.client.get_run(run_id)
    assert (run.info.status, run.data.tags[names.STATE]) == (status, state)
    assert run.data.metrics == ended.measured
    assert again.reconcile([ended]) == 0


def test_reconcile_writes_runs_that_never_came_and_leaves_running_ones(make_recorder):
    recorder = make_recorder()
    recorder.start_trial(row(0, "running"))
    assert recorder.reconcile([row(0, "running"), row(1), row(2, "failed")]) == 2
    statuses = {number: run.info.status for number, run in recorder.trial_runs().items()}
    assert statuses == {0: "RUNNING", 1: "FINISHED", 2: "FAILED"}


def test_a_failure_is_told_with_its_traceback(make_recorder, tmp_path):
    recorder = make_recorder()
    run_id = recorder.start_trial(row(state="running"))
    recorder.finish_trial(run_id, row(state="failed", failure="ValueError: x"), "Traceback: all of it")
    assert recorder.client.get_run(run_id).data.tags[names.FAILURE] == "ValueError: x"
    file = recorder.client.download_artifacts(run_id, names.FAILURE_FILE, str(tmp_path))
    assert Path(file).read_text() == "Traceback: all of it"


def test_a_study_of_the_same_name_later_is_another(make_recorder, uri, request):
    first = make_recorder("one")
    first.reconcile([row(0), row(1)])
    second = make_recorder("two")
    assert second.parent != first.parent
    second.reconcile([row(0)])
    assert len(read_study(request.node.name, uri)) == 1
    assert len(first.trial_runs()) == 2


def test_points_go_to_their_trial_or_to_a_run_of_their_own_just_once(make_recorder, uri, request):
    recorder = make_recorder()
    recorder.reconcile([row(3)])
    searched = {**POINT, "name": "trial 3", "family": "searched", "trial": 3, "design": ""}
    for _ in range(2):
        recorder.point(searched, OPERATOR.to_json())
        recorder.point(POINT, OPERATOR.to_json())
        recorder.point({**POINT, "name": "unreduced", "family": "unreduced", "design": ""}, None)
    runs = read_study(request.node.name, uri).set_index("name")
    assert list(runs["family"]) == ["searched", "hand-designed", "unreduced"]
    assert list(runs["heldout_accuracy"]) == [0.5] * 3
    assert list(runs["heldout_questions"]) == [100] * 3
    assert runs.loc["trial 3", "accuracy"] == 0.8  # of validation, untouched
    assert runs.loc["fastv at 0.100", "design"] == "fastv"
    assert runs.loc["fastv at 0.100", "operator"] == OPERATOR
    assert runs.loc["unreduced", "operator"] is None


def test_a_note_stays_when_a_point_is_written_again(make_recorder):
    recorder = make_recorder()
    recorder.point(POINT, OPERATOR.to_json())
    run_id = recorder._baselines[POINT["name"]]
    written = recorder.client.get_run(run_id).data.tags[names.NOTE]
    recorder.client.set_tag(run_id, names.NOTE, described("Mine.", written))
    recorder.point(POINT, OPERATOR.to_json())
    assert note_of(recorder.client.get_run(run_id).data.tags[names.NOTE]) == "Mine."


def test_the_answers_given_lie_beside_the_operator(make_recorder, tmp_path):
    recorder = make_recorder()
    recorder.reconcile([row(3)])
    recorder.examples = [{"text": "how many?", "answer": "two", "png": "data:image/png;base64,", "grid": [2, 2]}]
    searched = {**POINT, "name": "trial 3", "family": "searched", "trial": 3, "design": ""}
    unreduced = {**POINT, "name": "unreduced", "family": "unreduced", "design": ""}
    for point, given in ((searched, "one"), (POINT, "three"), (unreduced, "two")):
        answers = json.dumps([{"given": given, "worth": float(given == "two")}])
        recorder.point(point, OPERATOR.to_json() if point is POINT else None, answers=answers)
    for run_id, given in (
        (recorder._runs[3], "one"),
        *((recorder._baselines[name], given) for name, given in ((POINT["name"], "three"), ("unreduced", "two"))),
    ):
        file = recorder.client.download_artifacts(run_id, names.ANSWERS_FILE, str(tmp_path))
        held = json.loads(Path(file).read_text())
        assert held["examples"] == recorder.examples
        assert held["answers"] == [{"given": given, "worth": float(given == "two")}]


def test_the_parent_describes_the_study_and_may_be_described_again(make_recorder, tmp_path):
    recorder = make_recorder()
    recorder.describe("name: a\n", "words", {"model": "m"}, {"trials": 3})
    recorder.describe("name: a\n", "words", {"model": "m"}, {"trials": 9})
    recorder.summary({"points.csv": "a,b\n"}, {"hypervolume": 0.5})
    parent = recorder.client.get_run(recorder.parent)
    assert parent.data.tags["eos.plan.trials"] == "9"
    note = parent.data.tags[names.NOTE]
    assert note.startswith("words\n")
    for part in ("m, frozen", "eos study run study.yaml", "viewStateShareKey=pareto-front", "| `compute_ratio` |"):
        assert part in note
    assert parent.data.metrics == {"hypervolume": 0.5}
    files = {file.path for file in recorder.client.list_artifacts(recorder.parent)}
    assert files == {"study.yaml", "points.csv", "environment.json"}


def test_reading_what_is_not_there(make_recorder, uri, tmp_path):
    with pytest.raises(EosError, match="no MLflow store at"):
        read_study("x", f"sqlite:///{tmp_path}/none.db")
    assert not list(tmp_path.iterdir())
    make_recorder()
    with pytest.raises(EosError, match="unknown study 'test_reading_what_is_not_ther'; did you mean"):
        read_study("test_reading_what_is_not_ther", uri)


def test_an_empty_study_reads_as_an_empty_table(make_recorder, uri, request):
    make_recorder()
    assert read_study(request.node.name, uri).empty


def test_a_deleted_experiment_is_said(make_recorder):
    recorder = make_recorder()
    recorder.client.delete_experiment(recorder.experiment.experiment_id)
    with pytest.raises(EosError, match=r"was deleted; restore it there"):
        make_recorder()


@pytest.mark.parametrize("uri", ["sqlite:////dev/null/mlflow.db", "nonsense://x", "http://127.0.0.1:9"])
def test_a_store_that_does_not_answer_is_said_in_a_line(uri):
    with pytest.raises(EosError, match=rf"cannot open the MLflow store {re.escape(uri)}") as caught:
        probe(uri)
    assert "\n" not in str(caught.value)
    if not uri.startswith("http"):
        with pytest.raises(EosError, match="cannot open the MLflow store"):
            Recorder(uri, "s", "one")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql://u:secret@127.0.0.1:9/x"])
def test_reading_a_store_that_is_away_is_said_at_once(uri):
    for read in (reader, lambda uri: read_study("s", uri)):
        begin = time.monotonic()
        with pytest.raises(EosError, match="cannot open the MLflow store") as caught:
            read(uri)
        assert time.monotonic() - begin < 15  # not MLflow's minutes
        assert "secret" not in str(caught.value)
    assert front_url(uri, "s") == ""


def test_how_to_look():
    assert open_command("http://tracker:5000") == "http://tracker:5000"
    assert front_url("sqlite:///none.db", "s") == ""
    assert "mlflow ui --backend-store-uri sqlite:///a/mlflow.db" in open_command("sqlite:///a/mlflow.db")
    assert shlex.split(open_command("sqlite:///my runs/mlflow.db"))[3] == "sqlite:///my runs/mlflow.db"


def test_the_command_is_one_that_the_shell_finds(tmp_path, monkeypatch):
    ours = tmp_path / ".venv" / "bin" / "mlflow"
    ours.parent.mkdir(parents=True)
    ours.write_text("#!/bin/sh\n")
    ours.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(ours.with_name("python")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert open_command("sqlite:///a.db").startswith("./.venv/bin/mlflow ui ")
    monkeypatch.chdir(ours.parent)
    assert open_command("sqlite:///a.db").startswith("./mlflow ui ")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:secret@host:bad/db",
        "mysql+nosuch://me:secret@host/db",
        "mysql://me:secret@host/db",
        "http://[",
        "sqlite+aiosqlite:///x.db",
    ],
)
def test_a_bad_uri_is_one_line_without_its_password(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ask in (probe, lambda uri: read_study("s", uri), lambda uri: Recorder(uri, "s", "one")):
        with pytest.raises(EosError) as caught:
            ask(uri)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "secret" not in open_command(uri)


def test_the_front_moves_and_only_those_that_came_or_went_are_written(make_recorder, monkeypatch):
    recorder = make_recorder()
    runs = {number: recorder.start_trial(row(number, "running")) for number in range(3)}
    for number in range(3):
        recorder.finish_trial(runs[number], row(number))
    written = []
    batch = recorder._batch
    monkeypatch.setattr(recorder, "_batch", lambda run_id, **given: (written.append(run_id), batch(run_id, **given)))
    for front, changed in (([0], [0]), ([0, 1], [1]), ([1, 2], [0, 2]), ([1, 2], [])):
        written.clear()
        recorder.mark_front(front)
        assert written == [runs[number] for number in changed]
    reported = {number: run.data.tags for number, run in recorder.trial_runs().items()}
    assert {number: tags[names.PARETO] for number, tags in reported.items()} == {0: "false", 1: "true", 2: "true"}
    assert reported[0][names.COLOR] == names.COLORS["dominated"] != reported[1][names.COLOR] == names.COLORS["searched"]
    assert reported[1][names.ORDER] < reported[0][names.ORDER]
    assert {tags[names.SHOWN] for tags in reported.values()} == {recorder.uid}
    late = recorder.start_trial(row(names.CLOUD, "running"))
    shown = [recorder.client.get_run(late).data.tags[names.SHOWN]]
    for front in ([names.CLOUD, 1, 2], [1, 2]):  # one of thousands is shown while it is on the front
        recorder.mark_front(front)
        shown.append(recorder.client.get_run(late).data.tags[names.SHOWN])
    assert shown == ["no", recorder.uid, "no"]
    again = make_recorder()  # another driver goes on
    again.mark_front([2])
    assert again.trial_runs()[1].data.tags[names.PARETO] == "false"


def test_a_trial_has_its_operator_in_words_and_pictures(make_recorder):
    recorder = make_recorder()
    run_id = recorder.start_trial(row(state="running"))
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "PNG")
    png = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    recorder.examples = [{"png": png, "grid": [4, 4], "text": "what?", "answer": "that"}]
    sites = [[{"place": "decoder", "layer": 1, "origin": [0, 5, 9], "size": [1.0, 1.0, 1.0]}]]
    recorder.finish_trial(run_id, row(), kept=json.dumps(sites))
    files = {file.path for file in recorder.client.list_artifacts(run_id)}
    assert files == {"operator.json", "sites.png", "kept.png", "kept.json"}
    note = recorder.client.get_run(run_id).data.tags[names.NOTE]
    assert "before decoder layer 1, 16 to 3 tokens" in note
    assert f'load_operator("runs:/{run_id}")' in note


def test_the_relaxed_accuracy_is_no_deployed_metric(make_recorder):
    recorder = make_recorder()
    run_id = recorder.start_trial(row(state="running"))
    recorder.finish_trial(run_id, row(measured={"accuracy": 0.8, "relaxed_accuracy": 0.9}))
    assert recorder.client.get_run(run_id).data.metrics == {"accuracy": 0.8, "search/relaxed_accuracy": 0.9}
