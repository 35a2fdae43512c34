"""Both stores in folders of any name, and addresses with secrets that no line, file or run gives away."""

import os
import stat

import pytest
from engine_fakes import TARGET, study_file
from rich.console import Console

from eos_platform.common.addresses import secret
from eos_platform.common.errors import EosError
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.study import Study
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking.client import probe
from eos_platform.tracking.reading.run_reader import reader
from eos_platform.tracking.reading.studies import front_url, open_command, read_study
from eos_platform.tracking.recorder import Recorder
from eos_platform.tracking.rows import TrialRow

ODD = '100% {SCHEMA_VERSION} {x}?mode=memory#1 %20 ünï\'s "a" a@b:c;d=e&f+'


def test_a_study_lives_in_a_folder_of_any_name(tmp_path):
    runs = tmp_path / ODD
    run_dir = run_dir_of(study_file(), runs)
    run_dir.check()
    run_dir.prepare()
    with store.open_store(run_dir, create=True) as optuna_study:
        optuna_study.ask()
        recorder = Recorder(run_dir.mlflow_uri, "tiny", optuna_study.user_attrs[store.UID], run_dir.mlflow_artifacts)
    row = TrialRow(
        0, "complete", "ray", None, {"budget": 0.2}, regime="identity", operator=OperatorSpec(target=TARGET).to_json()
    )
    recorder.describe(run_dir.study.to_yaml(), "a note", {"varied": "budget", "model": "fake"}, {})
    recorder.finish_trial(recorder.start_trial(row), row)
    with store.open_store(run_dir, create=False) as optuna_study:
        assert len(optuna_study.trials) == 1
    found = read_study("tiny", run_dir.mlflow_uri)
    assert found["operator"].iloc[0].target == TARGET  # its file was found again, too
    assert [run.name for run in reader(run_dir.mlflow_uri).parents()] == ["tiny"]
    assert front_url(run_dir.mlflow_uri, "tiny")
    assert "mlflow.db" in open_command(run_dir.mlflow_uri)
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    assert {path.name for path in runs.iterdir()} == {"mlflow.db", "mlflow-artifacts", "tiny"}
    assert (run_dir.path / "optuna.db").stat().st_size > 10_000
    assert list((runs / "mlflow-artifacts").rglob("operator.json"))


HIDDEN = [
    "postgresql://me:hu sh@127.0.0.1:9/db",
    "postgresql://me:hu%20sh@127.0.0.1:9/db",
    "postgresql://me:hu{sh}@127.0.0.1:9/db",
    "postgresql://hushhush@127.0.0.1:9/db",
    "postgresql://127.0.0.1:9/db?passfile=hush&hush=hush",
    "postgresql://me:hush@127.0.0.1:nine/db",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dhush",
    "nosuch://me:hush@host/db?x=hush",
    "mysql+pymysql://me:hush@127.0.0.1:9/db?hush",
    "hush:hush@host/db",
]


def given_away(text):
    return [word for word in ("hush", "hu sh", "hu%20sh", "sh@", "sh}") if word in text]


@pytest.mark.parametrize("address", HIDDEN)
def test_no_line_gives_a_store_away(tmp_path, address):
    assert secret(address)
    run_dir = run_dir_of(study_file(stores={"optuna": address, "mlflow": address}), tmp_path)
    for act in (lambda: store.open_store(run_dir, create=True).__enter__(), lambda: probe(address)):
        with pytest.raises(EosError) as caught:
            act()
        assert not given_away(str(caught.value))
    assert not given_away(open_command(address))


@pytest.mark.parametrize("address", HIDDEN)
@pytest.mark.parametrize("name", ["optuna", "mlflow"])
def test_what_a_resume_needs_nobody_else_reads(tmp_path, address, name):
    before = os.umask(0o022)
    try:
        study = Study(study_file(stores={name: address}), runs=tmp_path, console=Console(quiet=True))
        study.folder.prepare()
        study._write_study_file()
    finally:
        os.umask(before)
    assert stat.S_IMODE(study.folder.study_file.stat().st_mode) == 0o600
    assert not given_away(study.file.to_yaml())  # what MLflow gets
    again = Study("tiny", runs=tmp_path)
    assert getattr(again.file.stores, name) == address


@pytest.mark.parametrize("address", ["s3://bucket/x?hush=hush", "s3://hush@bucket/x", "gs://bucket/x?token=hush"])
def test_a_storage_with_a_secret_is_refused_without_showing_it(tmp_path, address):
    with pytest.raises(EosError, match="no name or password belongs in the URL") as caught:
        run_dir_of(study_file(stores={"storage": address}), tmp_path).check()
    assert not given_away(str(caught.value))
