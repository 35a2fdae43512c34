"""The Optuna store: whose it is, what counts as finished, and what a killed driver leaves behind."""

import contextlib
import io
import math

import optuna
import pytest
import sqlalchemy as sql
from engine_fakes import study_file
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from rich.console import Console
from sqlalchemy.exc import OperationalError

from eos_platform.common.errors import EosError
from eos_platform.engine.schema.study_file import Sampler
from eos_platform.engine.status import status_of
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.lease import Lease
from eos_platform.engine.store.retry import StoreUnavailable
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.store.stored_trial import row_of, rows_of
from eos_platform.engine.strategy.samplers import make_sampler
from eos_platform.engine.strategy.searcher import StudySearcher
from eos_platform.engine.strategy.verdict import judge
from eos_platform.engine.study import Study
from eos_platform.engine.trial_result import read
from eos_platform.objectives import DEFAULT
from eos_platform.terminal.tables import plain_table

WELL = {"finished": True, "final/accuracy": 0.8, "final/compute_ratio": 0.15, "final/seconds": 2.0, "operator": "{}"}


@pytest.fixture
def optuna_study(folder):
    with store.open_store(folder, create=True) as study:
        yield study


@pytest.fixture
def searcher(optuna_study):
    return StudySearcher(optuna_study, study_file().space, study_file().search)


@pytest.mark.parametrize(
    ("result", "error", "state", "failure"),
    [
        (WELL, False, TrialState.COMPLETE, None),
        ({**WELL, "final/accuracy": math.nan}, False, TrialState.FAIL, "accuracy is nan"),
        ({**WELL, "final/compute_ratio": math.inf}, False, TrialState.FAIL, "compute_ratio is inf"),
        ({"finished": True, "final/accuracy": 0.8}, False, TrialState.FAIL, "compute_ratio is missing"),
        ({"finished": True, "failure": "ValueError: no"}, False, TrialState.FAIL, "ValueError: no"),
        ({"step": 3, "curve/loss": 1.0}, False, TrialState.PRUNED, None),
        (None, False, TrialState.PRUNED, None),
        (None, True, TrialState.FAIL, "the worker process died"),
        (WELL, True, TrialState.FAIL, "the worker process died"),
    ],
)
def test_every_end_has_its_state(searcher, optuna_study, result, error, state, failure):
    searcher.suggest("ray1")
    searcher.on_trial_complete("ray1", result, error)
    (trial,) = optuna_study.trials
    assert trial.state == state == judge(result or {}, error, read(result or {}, DEFAULT), {}).state
    assert trial.user_attrs.get("failure") == failure
    assert trial.user_attrs["ray_trial_id"] == "ray1"
    assert trial.values == ([0.8, 0.15] if state == TrialState.COMPLETE else None)


def test_a_search_that_a_node_could_not_run_is_run_again(searcher, optuna_study):
    searcher.blamed = lambda: "node 10.0.0.7 has no eos-platform"
    searcher.suggest("ray1")
    searcher.suggest("ray2")
    searcher.on_trial_complete("ray1", None, error=True)
    searcher.on_trial_complete("ray2", WELL)
    assert searcher.stopped == "node 10.0.0.7 has no eos-platform", "no search is given to it any more"
    failed, well = optuna_study.trials
    assert (failed.state, failed.user_attrs["failure"]) == (TrialState.FAIL, searcher.stopped)
    assert stored.finished(optuna_study.trials) == [well]
    store.requeue_lost_trials(optuna_study)
    assert optuna_study.trials[2].user_attrs[stored.RETRY_OF] == 0


def test_a_second_end_changes_nothing(searcher, optuna_study):
    searcher.suggest("ray1")
    searcher.on_trial_complete("ray1", WELL)
    searcher.on_trial_complete("ray1", None, True)
    assert optuna_study.trials[0].state == TrialState.COMPLETE


def test_the_config_holds_fixed_and_varied_fields_in_their_own_types(optuna_study):
    file = study_file(space={"budget": {"choice": [0.3]}, "layers": {"choice": [[0, 4]]}})
    searcher = StudySearcher(optuna_study, file.space, file.search)
    search = {"steps": 4, "budget": 0.3, "layers": (0, 4)}
    assert searcher.suggest("a") == {"number": 0, "root": 0, "search": search, "session": searcher.session}


def test_over_budget_is_infeasible_and_not_on_the_front(searcher, optuna_study):
    for name, ratio in (("over", 0.9), ("within", 0.04)):
        searcher.suggest(name)
        searcher.on_trial_complete(name, {**WELL, "final/compute_ratio": ratio})
    budgets = [trial.user_attrs["budget"] for trial in optuna_study.trials]
    slack = [next(iter(trial.constraints.values())) for trial in optuna_study.trials]
    assert slack == [pytest.approx(0.9 - budgets[0]), pytest.approx(0.04 - budgets[1])]
    assert [trial.number for trial in stored.front(optuna_study)] == [1]


def test_the_front_is_sorted_and_lists_equal_points_once(optuna_study):
    space = {"budget": optuna.distributions.FloatDistribution(0.1, 1)}
    for accuracy, ratio in ((0.9, 0.5), (0.5, 0.1), (0.5, 0.1), (0.4, 0.3)):
        optuna_study.tell(optuna_study.ask(space), [accuracy, ratio])
    assert [trial.number for trial in stored.front(optuna_study)] == [1, 0]


def test_settling_fails_and_queues_again_just_once(searcher, optuna_study):
    searcher.suggest("done")
    searcher.on_trial_complete("done", WELL)
    lost = searcher.suggest("lost")
    assert store.requeue_lost_trials(optuna_study) == 1
    assert [trial.state for trial in optuna_study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
    assert optuna_study.trials[1].user_attrs["failure"] == "interrupted"
    assert store.requeue_lost_trials(optuna_study) == 0
    assert len(optuna_study.trials) == 3
    again = searcher.suggest("again")
    assert again["search"] == lost["search"]
    assert (again["number"], again["root"]) == (2, 1)
    assert optuna_study.trials[2].user_attrs["retry_of"] == 1
    # a retry that is lost too keeps the state of the first
    store.requeue_lost_trials(optuna_study)
    assert searcher.suggest("third")["root"] == 1
    assert [trial.number for trial in stored.finished(optuna_study.trials)] == [0]


def test_a_kill_between_queueing_and_telling_doubles_nothing(searcher, optuna_study):
    searcher.suggest("lost")
    optuna_study.enqueue_trial(optuna_study.trials[0].params, user_attrs={"retry_of": 0})
    assert store.requeue_lost_trials(optuna_study) == 1
    assert [trial.state for trial in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_driver_killed_while_it_asked_leaves_nothing_to_run_again(searcher, optuna_study):
    optuna_study.ask(
        {name: one.distribution() for name, one in study_file().space.items()}
    )  # and was never handed to Ray
    assert store.requeue_lost_trials(optuna_study) == 0
    assert [trial.state for trial in optuna_study.trials] == [TrialState.FAIL]
    assert stored.proposals(optuna_study.trials) == 0, "the next trial takes its place"


def test_a_queued_trial_that_a_killed_driver_took_up_is_queued_again_whole(optuna_study):
    params = {"budget": 0.1, "learning_rate": 0.05, "search_questions": 2}
    optuna_study.enqueue_trial(params, user_attrs={"warm_start": "x"})
    optuna_study.ask()  # killed before its first parameter
    assert store.requeue_lost_trials(optuna_study) == 1
    again = optuna_study.trials[1]
    assert again.system_attrs["fixed_params"] == params
    assert again.user_attrs == {"warm_start": "x", "retry_of": 0}


def test_a_search_that_ended_for_want_of_space_is_run_again(searcher, optuna_study):
    searcher.suggest("full")
    full = {"finished": True, "failure": "No space left on device", "again": True}
    searcher.on_trial_complete("full", full)
    assert searcher.stopped == "No space left on device"
    assert searcher.suggest("more") == "FINISHED", "and no other is begun on a full disk"
    assert not stored.finished(optuna_study.trials)
    assert row_of(study_file(), optuna_study.trials[0]).state == "interrupted"
    assert store.requeue_lost_trials(optuna_study) == 1
    assert store.requeue_lost_trials(optuna_study) == 0
    assert [trial.state for trial in optuna_study.trials] == [TrialState.FAIL, TrialState.WAITING]


@pytest.mark.parametrize("name", ["random", "qmc", "tpe"])
def test_kills_do_not_change_what_is_proposed(name, tmp_path):
    def proposals(killed_at):
        run_dir = run_dir_of(study_file(sampler={"name": name, "seed": 3}), tmp_path / f"{name}-{len(killed_at)}")
        run_dir.prepare()
        with store.open_store(run_dir, create=True) as optuna_study:
            file, found = run_dir.study, []
            for number in range(8):
                # each its own driver
                searcher = StudySearcher(
                    optuna_study, file.space, file.search, lambda n: make_sampler(file.sampler, n, 8, file.space)
                )
                found.append(searcher.suggest(f"a{number}")["search"])
                if number in killed_at:
                    store.requeue_lost_trials(optuna_study)
                    searcher.suggest(f"b{number}")
                searcher.on_trial_complete(next(reversed(searcher.live)), WELL)
            return found

    assert proposals(()) == proposals((0, 3, 4))


def test_a_store_that_goes_away_while_it_is_asked_gets_no_second_trial(searcher, optuna_study, monkeypatch):
    error = StorageInternalError("away")
    error.__cause__ = OperationalError("insert", {}, Exception("refused"))
    real, left = optuna_study.ask, [error, error]

    def ask(*given):
        trial = real(*given)
        if left:
            raise left.pop()  # it was made, and nobody heard of it
        return trial

    monkeypatch.setattr(optuna_study, "ask", ask)
    assert searcher.suggest("ray1")["number"] == 2
    assert [trial.state.name for trial in optuna_study.trials] == ["FAIL", "FAIL", "RUNNING"]
    searcher.on_trial_complete("ray1", WELL)
    assert [trial.number for trial in stored.finished(optuna_study.trials)] == [2]
    assert store.requeue_lost_trials(optuna_study) == 0


def test_failed_trials_count_as_finished_and_interrupted_ones_do_not(searcher, optuna_study):
    for name, result in (("a", WELL), ("b", {"finished": True, "failure": "x"}), ("c", None)):
        searcher.suggest(name)
        searcher.on_trial_complete(name, result)
    searcher.suggest("d")
    store.requeue_lost_trials(optuna_study)
    status = status_of(study_file(), optuna_study)
    assert (status.finished, status.remaining) == (3, 3)
    assert list(status.trials["state"]) == ["complete", "failed", "pruned", "interrupted", "waiting"]
    assert status.trials["learning_rate"].notna().all()
    assert [row.state for row in rows_of(study_file(), optuna_study.trials)] == [
        "complete",
        "failed",
        "pruned",
        "interrupted",
    ]
    assert str(status) == "tiny: 3 of 6 trials, 3 remain"


def test_the_same_study_opens_again_with_more_trials(folder):
    with store.open_store(folder, create=True) as optuna_study:
        uid = optuna_study.user_attrs["uid"]
    with store.open_store(
        run_dir_of(study_file(trials=99, sampler="random"), folder.runs), create=True
    ) as optuna_study:
        assert optuna_study.user_attrs["uid"] == uid


def test_words_that_were_once_read_in_another_way_make_no_other_study(folder):
    """``2e0`` was a word to YAML 1.1, and ``yes`` was none: what an earlier version kept is the same study."""
    with store.open_store(
        run_dir_of(study_file(search={"budget_warm_up": 2.0, "probe": "yes"}), folder.runs), create=True
    ) as optuna_study:
        kept = {**optuna_study.user_attrs["identity"], "search": {"budget_warm_up": "2e0", "probe": True}}
        optuna_study.set_user_attr("identity", kept)
        optuna_study.set_user_attr("identity_digest", store.digest(kept))
    for rate, flag, same in [(2.0, "yes", True), (2.0, True, True), (3.0, "yes", False), (2.0, "no", False)]:
        again = run_dir_of(study_file(search={"budget_warm_up": rate, "probe": flag}), folder.runs)
        expected = contextlib.nullcontext() if same else pytest.raises(EosError, match="belongs to another study")
        with expected, store.open_store(again, create=True):
            pass


def test_a_store_of_another_study_is_refused_by_name_of_the_difference(folder):
    with store.open_store(folder, create=True):
        pass
    other = run_dir_of(study_file(search={"steps": 9}), folder.runs)
    with (
        pytest.raises(EosError, match=r"belongs to another study \(search\.steps was 4, not 9\)"),
        store.open_store(other, create=True),
    ):
        pass


def test_a_study_that_was_not_run(tmp_path):
    run_dir = run_dir_of(study_file(), tmp_path)
    with pytest.raises(store.NotRun, match="has not been run"), store.open_store(run_dir, create=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_opened(tmp_path):
    run_dir = run_dir_of(study_file(stores={"optuna": "sqlite:////nowhere/at/all/optuna.db"}), tmp_path)
    with pytest.raises(EosError, match="cannot open the Optuna store sqlite:////nowhere"):
        store.open_store(run_dir, create=True).__enter__()
    run_dir = run_dir_of(study_file(stores={"optuna": "no-such-dialect://x"}), tmp_path)
    with pytest.raises(EosError, match="cannot open the Optuna store no-such-dialect"):
        store.open_store(run_dir, create=True).__enter__()


def test_a_store_that_fails_where_nobody_waits_for_it_is_one_line(folder):
    with store.open_store(folder, create=True) as optuna_study, store.engine_of(optuna_study).begin() as connection:
        connection.execute(sql.text("CREATE TABLE eos_leases (other INTEGER)"))  # of something else
    with (
        pytest.raises(StoreUnavailable, match="the Optuna store cannot be used") as caught,
        store.open_store(folder, create=False) as optuna_study,
    ):
        Lease(store.engine_of(optuna_study), "tiny").take()
    assert "\n" not in str(caught.value)


def test_one_driver_at_a_time(folder):
    with folder.lock(), pytest.raises(EosError, match="study 'tiny' is being run by process"), folder.lock():
        pass
    with folder.lock():
        pass


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random", "qmc"])
def test_samplers_propose_new_points_after_a_resume(name):
    space = study_file(space={"learning_rate": {"float": [0.01, 1.0]}}).space
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number in range(6):
        study.sampler = make_sampler(Sampler(name=name, seed=1), number, 12, space)
        trial = study.ask()
        space["learning_rate"].ask(trial, "learning_rate")
        study.tell(trial, [0.5, 0.5])
    assert len({trial.params["learning_rate"] for trial in study.trials}) == 6


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@host:bad/db", "nosuch://me:secret@host/db", "sqlite:///" + "x" * 5000]
)
def test_a_bad_url_is_one_line_without_its_password(tmp_path, url):
    study = run_dir_of(study_file(stores={"optuna": url}), tmp_path / "runs")
    with (
        pytest.raises(EosError, match=r"cannot (open the|read) Optuna store") as caught,
        store.open_store(study, create=False),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_every_search_failed(folder):
    with store.open_store(folder, create=True) as optuna_study:
        store.refuse_failure(optuna_study)
        trial = optuna_study.ask({name: one.distribution() for name, one in study_file().space.items()})
        trial.set_user_attr(stored.FAILURE, "ValueError: no")
        optuna_study.tell(trial, state=TrialState.FAIL)
        with pytest.raises(EosError, match="every search failed; first: ValueError: no"):
            store.refuse_failure(optuna_study)


def test_stored_values_the_search_refuses_do_not_hide_the_others(folder):
    with store.open_store(folder, create=True) as optuna_study:
        optuna_study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL, params={}, distributions={}))
        frozen = optuna_study.trials[0]
        frozen.params = {"budget": 7.0, "gone": 1}
        assert row_of(folder.study, frozen).params == {"steps": 4, "budget": 7.0, "gone": 1}


@pytest.mark.parametrize("where", ["x" * 300, "a\0b"])
def test_a_folder_that_cannot_be(tmp_path, where):
    with pytest.raises(EosError, match="cannot make the study's folder"):
        run_dir_of(study_file(stores={"storage": str(tmp_path / where)}), tmp_path).check()


def test_a_damaged_table_says_what_to_do(folder):
    study = Study(folder.study, runs=folder.runs)
    for text in ("", "name,family\na,b\n", "\0\0"):
        folder.points.write_text(text)
        with pytest.raises(EosError, match=r"points\.csv is damaged; delete it"):
            study.points()


def test_names_are_no_markup():
    console = Console(file=io.StringIO(), width=80)
    table = plain_table("[red]title", left=("name",))
    table.add_row("[/nothing] [bold]x")
    console.print(table)
    assert "[red]title" in console.file.getvalue()
    assert "[/nothing] [bold]x" in console.file.getvalue()
