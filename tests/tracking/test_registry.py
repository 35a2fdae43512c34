"""The front as a registered model: versions, aliases, and back to an operator."""

from pathlib import Path

import mlflow
import pytest

from eos_platform.errors import EosError
from eos_platform.models.sources import operator_from
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking import load_operator, provenance
from eos_platform.tracking.registry import Entry, aliases_of, default_store
from eos_platform.tracking.rows import TrialRow

TARGET = Target(layers=4, grid=(4, 4))


def operator(trial, keep):
    site = SiteSpec(layer=1, keep=keep, score={"norm": 1.0})
    return OperatorSpec(name=f"s-{trial}", target=TARGET, sites=(site,))


def point(trial, accuracy, ratio):
    return {"family": "searched", "trial": trial, "accuracy": accuracy, "compute_ratio": ratio}


WHOLE = {"family": "unreduced", "trial": None, "accuracy": 0.95, "compute_ratio": 1.0}


@pytest.fixture
def recorder(make_recorder):
    recorder = make_recorder("uid")
    recorder.describe("name: s\ntrials: 2\n", "", {"model": "bundled-small"}, {})
    for trial, keep in ((0, 3), (1, 6), (2, 9)):
        spec = operator(trial, keep)
        recorder.finish_trial(
            recorder.start_trial(TrialRow(trial, "running")),
            TrialRow(trial, "complete", operator=spec.to_json(), regime=spec.regime),
        )
    return recorder


def entry(trial, accuracy, ratio):
    return Entry(trial, "run", "{}", accuracy, ratio)


def test_the_champion_is_the_cheapest_within_a_point_of_the_unreduced_model():
    entries = [entry(0, 0.80, 0.1), entry(1, 0.945, 0.2), entry(2, 0.948, 0.301), entry(3, 0.94, 0.299)]
    assert aliases_of(entries, 0.95) == {"champion": 1, "ratio-0_10": 0, "ratio-0_20": 1, "ratio-0_30": 2}
    assert aliases_of(entries, 0.99)["champion"] == 2  # none is near: the most accurate
    assert aliases_of(entries, None)["champion"] == 2


def test_attach_finds_the_registry_of_the_studies(recorder, uri, tmp_path, monkeypatch):
    recorder.register([WHOLE, point(0, 0.8, 0.1)], {0: operator(0, 3).to_json()})
    assert not mlflow.is_tracking_uri_set(), "a study leaves MLflow as it was"
    (tmp_path / "eos-runs").symlink_to(Path(uri.removeprefix("sqlite:///")).parent)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for reference in ("@champion", "/1", "@ratio-0.10"):
        assert operator_from(f"models:/{recorder.study}{reference}").sites[0].keep == 3
    for reference in ("models:/x@y", f"models:/{recorder.study}@none", "models:/", "models:/x"):
        with pytest.raises(EosError, match="registry"):
            operator_from(reference)
    assert sorted(tmp_path.rglob("*")) == before


def test_from_a_front_to_versions_and_back(recorder, uri, tmp_path):
    points = [WHOLE, point(0, 0.8, 0.1), point(1, 0.945, 0.2)]
    texts = {trial: operator(trial, keep).to_json() for trial, keep in ((0, 3), (1, 6), (2, 9))}
    found = recorder.register(points, texts)
    name = recorder.study
    assert found == {"champion": "2", "ratio-0_10": "1", "ratio-0_20": "2"}
    for reference, trial, keep in (
        ("@champion", 1, 6),
        ("@ratio-0.10", 0, 3),
        ("@ratio-0_10", 0, 3),
        ("/2", 1, 6),
    ):
        assert load_operator(f"models:/{name}{reference}", uri) == operator(trial, keep)
    run = recorder.trial_runs()[0].info.run_id
    assert load_operator(f"runs:/{run}", uri) == operator(0, 3)

    whence = provenance(f"models:/{name}@champion", uri)
    assert (whence.study, whence.trial, whence.study_run_id) == (name, 1, recorder.parent)
    assert whence.run_id == recorder.trial_runs()[1].info.run_id
    assert whence.study_file == "name: s\ntrials: 2\n"

    # the front moved on: one version more, the aliases as they are now
    again = recorder.register([WHOLE, point(1, 0.945, 0.2), point(2, 0.96, 0.15)], texts)
    assert again == {"champion": "3", "ratio-0_15": "3", "ratio-0_20": "2"}
    model = recorder.client.get_registered_model(name)
    assert {alias: str(version) for alias, version in model.aliases.items()} == again
    assert len(recorder.client.search_model_versions(f"name = '{name}'")) == 3


def test_a_version_is_code_and_data_without_a_pickle(recorder, uri, tmp_path):
    before = mlflow.get_tracking_uri()
    recorder.register([WHOLE, point(0, 0.8, 0.1)], {0: operator(0, 3).to_json()})
    assert not mlflow.is_tracking_uri_set(), "a study leaves MLflow as it was"
    assert mlflow.get_tracking_uri() == before
    version = recorder.client.get_model_version_by_alias(recorder.study, "champion")
    assert "Trial 0" in version.description
    assert recorder.client.get_run(version.run_id).data.tags["eos.trial"] == "0"
    with default_store(uri):
        folder = mlflow.artifacts.download_artifacts(f"models:/{recorder.study}@champion", dst_path=str(tmp_path))
        model = mlflow.pyfunc.load_model(f"models:/{recorder.study}@champion")
    files = {path.relative_to(folder).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"artifacts/operator.json", "pyfunc_model.py", "MLmodel"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt"))]
    inside = model.unwrap_python_model()
    assert inside.operator == operator(0, 3)
    assert inside.base == "bundled-small"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("models:/none@champion", "cannot read the MLflow store"),
        ("quickstart", "'quickstart' is none of models:/name@alias"),
        ("runs:/0123", "cannot read the MLflow store"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(recorder, uri, reference, said):
    with pytest.raises(EosError, match=said) as caught:
        load_operator(reference, uri)
    assert "\n" not in str(caught.value)


def test_a_missing_store_is_not_made(tmp_path):
    with pytest.raises(EosError, match="no MLflow store at"):
        load_operator("models:/s@champion", f"sqlite:///{tmp_path}/none.db")
    assert not list(tmp_path.iterdir())
