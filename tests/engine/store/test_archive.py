"""``--fresh``: the earlier study is archived whole, wherever its store is."""

import optuna
import pytest
from optuna.trial import TrialState

from eos_platform.common.errors import EosError
from eos_platform.engine.store import checkpoint_storage as storage
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store.archive import EARLIER
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.strategy.searcher import StudySearcher
from eos_platform.tracking.recorder import Recorder


@pytest.fixture
def begin(empty_mlflow):
    """Leave a study as a killed driver does: one search under way, in Optuna and in MLflow."""

    def leave(study):
        study.folder.prepare()
        (study.folder.runs / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
        with store.open_store(study.folder, create=True) as optuna_study:
            StudySearcher(optuna_study, study.file.space, study.file.search).suggest("ray1")
            uid = optuna_study.user_attrs[store.UID]
        Recorder(study.folder.mlflow_uri, study.file.name, uid, study.folder.mlflow_artifacts)
        return uid

    return leave


def test_an_earlier_study_is_put_away_with_nothing_left_running(make_study, begin):
    study = make_study()
    uid = begin(study)
    (study.folder.path / "points.csv").write_text("old")
    study._archive()
    assert not study.folder.path.exists()
    (earlier,) = (study.folder.runs / EARLIER).iterdir()
    assert (earlier / "points.csv").read_text() == "old"
    optuna_study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{earlier / 'optuna.db'}")
    assert [trial.state for trial in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]
    runs = Recorder(study.folder.mlflow_uri, "tiny", "another", None).client.search_runs(["1"])
    assert {run.info.status for run in runs if run.data.tags["eos.study_uid"] == uid} == {"KILLED"}
    study.folder.prepare()
    with store.open_store(study.folder, create=True) as optuna_study:
        assert not optuna_study.trials
        assert optuna_study.user_attrs[store.UID] != uid


def test_a_study_in_a_store_of_many_is_renamed_there(make_study, begin, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    study = make_study(stores={"optuna": url, "storage": str(tmp_path / "shared")})
    begin(study)
    state = tmp_path / "shared" / "tiny" / "states" / "trial-0"
    state.mkdir(parents=True)
    study._archive()
    (name,) = optuna.get_all_study_names(url)
    assert name.startswith("tiny-2")
    assert name.endswith("(earlier)")
    assert not state.exists(), "a new study's trial 0 must not go on from it"


def test_a_folder_that_cannot_be_moved_leaves_the_study_as_it_was(make_study, begin, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    study = make_study(stores={"optuna": url})
    begin(study)
    (study.folder.runs / EARLIER).write_text("no folder")
    with pytest.raises(EosError, match="cannot move"):
        study._archive()
    assert optuna.get_all_study_names(url) == ["tiny"]


def test_another_study_of_the_name_may_be_put_away(make_study, begin):
    begin(make_study())
    make_study(search={"steps": 9})._archive()
    assert not run_dir_of(make_study().file, make_study().folder.runs).path.exists()


def test_there_may_be_nothing_to_put_away(make_study):
    study = make_study()
    study._archive()
    assert not (study.folder.runs / EARLIER).exists()


def test_states_of_another_study_stay(make_study, begin, tmp_path):
    study = make_study(stores={"storage": str(tmp_path / "shared")})
    begin(study)
    storage.claim(study.folder.states, "somebody else's")
    study._archive()
    assert storage.claimed(study.folder.states) == "somebody else's"
