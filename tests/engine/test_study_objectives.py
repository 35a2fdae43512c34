"""Studies with other objectives than accuracy and compute, from the trial to the figure, on real stores."""

import io
import json

import optuna
import pytest
import stopping_fakes as fakes
from engine_fakes import study_file
from optuna.study import StudyDirection
from rich.console import Console

from eos_platform.analysis.stats.pareto import pareto_mask
from eos_platform.common.errors import EosError
from eos_platform.dashboard_data.report import of_study
from eos_platform.dashboard_data.studies import Studies
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.study import Study
from eos_platform.objectives import from_json
from eos_platform.terminal.tables import status_table
from eos_platform.tracking.recorder import connect

SPACE = {"budget": {"float": [0.1, 0.5]}, "learning_rate": {"float": [0.01, 0.4]}}
FINAL = {"questions": 20, "baselines": ["random"], "ratios": 2}


def ran(folder, searches, **changes):
    file = study_file(space=SPACE, trials=len(searches), concurrent=1, final=FINAL, **changes)
    study = Study(file, runs=folder, console=Console(file=io.StringIO()), functions=fakes.FUNCTIONS)
    study.folder.prepare()
    with store.open_store(study.folder, create=True) as optuna_study:
        for budget, rate in searches:
            optuna_study.enqueue_trial({"budget": budget, "learning_rate": rate})
    return study, study.run()


def disagreements(study):
    """The fakes' own ratio is not their operators', which the comparison measures."""
    return [line for line in study.check() if "metric compute_ratio" not in line]


@pytest.mark.usefixtures("ray_local", "described_here")
def test_three_objectives_from_the_trial_to_the_figure(tmp_path):
    study, points = ran(
        tmp_path,
        [(0.2, 0.3), (0.1, 0.1), (0.4, 0.35), (0.4, 0.05), (0.3, 0.02)],
        search={"steps": 9, "eval_every": 1},
        scheduler={"name": "moasha", "grace": 2, "reduction": 2, "min_searches": 2, "reach_budget": False},
        objectives={"prefill_ms": "minimise", "accuracy": "maximise", "compute_ratio": "minimise"},
    )
    metrics = ["accuracy", "prefill_ms", "compute_ratio"]
    with store.open_store(study.folder, create=False) as optuna_study:
        assert optuna_study.metric_names == metrics
        assert optuna_study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
        trials, front = optuna_study.trials, [trial.number for trial in stored.front(optuna_study)]
    whole = [trial for trial in trials if trial.values]
    assert {trial.number for trial in whole} >= {0, 1, 2}
    for trial in whole:
        assert trial.values == [trial.user_attrs["measured"][name] for name in metrics]
    (stopped, *_) = [trial.user_attrs["stopped"] for trial in trials if "stopped" in trial.user_attrs]
    assert "prefill ms" in stopped
    assert "compute ratio" in stopped
    assert all(len(entry) == 5 for trial in trials for entry in trial.user_attrs["course"])
    assert front == [1, 0, 2]  # by rising prefill time

    assert set(points["trial"].dropna()) == set(front)
    assert points.loc[points["family"] == "unreduced", "prefill_ms"].item() == 576.0
    assert points["prefill_ms"].notna().all()
    searched = points[points["family"] == "searched"]
    assert pareto_mask(searched, study.file.axes).all()

    client = connect(study.folder.mlflow_uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs(experiment)
    (parent,) = [run for run in runs if run.data.tags["eos.kind"] == "study"]
    assert from_json(parent.data.tags["eos.objectives"]) == study.file.axes
    assert parent.data.metrics["hypervolume"] > 0
    for run in runs:
        if run.data.tags["eos.kind"] == "baseline":
            assert "prefill_ms" in run.data.metrics
        if run.data.tags.get("pareto") == "true":
            assert run.data.metrics["heldout_prefill_ms"] == run.data.metrics["prefill_ms"]
    assert disagreements(study) == []
    table = status_table(study.status())
    assert "prefill\nms" in [column.header for column in table.columns]
    assert study.points()["prefill_ms"].tolist() == points["prefill_ms"].tolist()
    html = study.folder.figure.read_text()
    assert "Plotly.newPlot" in html
    assert '"colorbar":{"title":{"text":"compute ratio"' in html

    studies = Studies(study.folder.mlflow_uri)
    assert studies.axes("tiny") == study.file.axes
    frame = studies.operators("tiny")
    assert set(frame.loc[frame["front"], "trial"]) == set(front)
    volumes = studies.progress("tiny")["hypervolume"]
    assert volumes.is_monotonic_increasing
    assert volumes.iloc[-1] > 0
    report = of_study(studies, "tiny")
    labels = [one.label for one in report.figures["parallel"].data[0].dimensions]
    assert labels[-3:] == ["prefill ms", "compute ratio", "accuracy (%)"]
    drawn = report.figures["front"]
    assert drawn.layout.xaxis.title.text == "prefill ms (lower is better)"
    (best,) = [trace for trace in drawn.data if trace.name == "Pareto front (held-out)"]
    assert len(best.x) == len(front)
    assert sorted(best.marker.color) == sorted(searched["compute_ratio"])


@pytest.mark.usefixtures("ray_local", "described_here")
def test_a_group_and_tokens(tmp_path):
    study, points = ran(
        tmp_path,
        [(0.2, 0.3), (0.1, 0.1), (0.4, 0.35)],
        objectives={"accuracy/counting": "maximise", "mean_tokens": "minimise"},
    )
    with store.open_store(study.folder, create=False) as optuna_study:
        assert optuna_study.metric_names == ["accuracy/counting", "mean_tokens"]
        assert [trial.values[0] for trial in optuna_study.trials] == [0.9, 0.2, 0.9]
        assert [trial.number for trial in stored.front(optuna_study)] == [1, 0], (
            "trial 2 keeps more tokens for the same"
        )
    assert set(points["trial"].dropna()) == {0, 1}
    assert points.set_index("trial")["accuracy/counting"].loc[0] == 0.9
    assert disagreements(study) == []


def test_objectives_make_a_study_another_one_unless_they_are_the_usual_ones():
    usual = study_file().identity()
    assert study_file(objectives={"compute_ratio": "minimise", "accuracy": "maximise"}).identity() == usual
    pair = {"accuracy": "maximise", "mean_tokens": "minimise"}
    assert study_file(objectives=pair).identity() == {**usual, "objectives": ["accuracy", "mean_tokens"]}


def test_a_store_of_other_objectives_is_refused(make_study):
    study = make_study()
    study.folder.prepare()
    with store.open_store(study.folder, create=True):
        pass
    with pytest.raises(EosError, match=r"belongs to another study \(objectives was null"):
        make_study(objectives={"accuracy": "maximise", "mean_tokens": "minimise"}).run()


def test_a_store_without_metric_names_gets_them(folder):
    with store.open_store(folder, create=True) as optuna_study:
        assert optuna_study.metric_names == ["accuracy", "compute_ratio"]
        optuna_study._storage.set_study_system_attr(optuna_study._study_id, "study:metric_names", None)
    with store.open_store(folder, create=False) as optuna_study:
        assert optuna_study.metric_names is None, "reading writes nothing"
    with store.open_store(folder, create=True) as optuna_study:
        assert optuna_study.metric_names == ["accuracy", "compute_ratio"]


@pytest.mark.parametrize(
    ("objectives", "says"),
    [
        ({"accuracy": "maximise", "my_cost": "minimise"}, "objectives: unknown objective 'my_cost'"),
        ({"accuracy/countin": "maximise", "mean_tokens": "minimise"}, "unknown skill 'countin'; did you mean 'count"),
        ({"accuracy": "maximise", "mean_tokens": "minimize"}, "did you mean 'minimise'?"),
        ({"accuracy": "maximise"}, "two or three objectives are needed, not 1"),
    ],
)
def test_wrong_objectives_are_one_clear_error(objectives, says):
    with pytest.raises(EosError) as raised:
        study_file(objectives=objectives)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_old_identities_have_no_objectives():
    assert "objectives" not in json.dumps(study_file().identity())
    assert store.DIRECTIONS[0] == optuna.study.StudyDirection.MAXIMIZE
