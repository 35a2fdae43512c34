"""The command line: what it says, where it says it, and how it exits."""

import os
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.engine.schema import study_file
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig

RUNNER = CliRunner()
QUICK = [word for one in ("batch_size=4", "search_questions=32", "eval_questions=32") for word in ("--set", one)]
ALONE = ["--set", "portfolio=false"]
STUDY = {
    "name": "tiny",
    "model": "bundled-small",
    "search": {"steps": 4, "batch_size": 4, "search_questions": 32, "eval_questions": 32},
    "space": {"budget": {"choice": [0.2, 0.4]}},
    "trials": 2,
    "concurrent": 1,
    "sampler": "qmc",
    "final": {"questions": 32, "baselines": ["tome"], "ratios": 1},
}


TAKE_OPERATORS = (
    ["evaluate"],
    ["explain"],
    ["bench"],
    ["benchmark", "--model", "bundled-small", "--tasks", "pope", "--root", ".", "--operator"],
    ["transfer", "bundled-small", "bundled", "--operator"],
)


def eos(*words):
    return RUNNER.invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "120"})


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


def test_version_and_help():
    assert eos("--version").output.startswith("eos ")
    shown = eos()
    assert "study run quickstart" in shown.output
    commands = [
        ["search"],
        ["evaluate"],
        ["designs"],
        *(["study", name] for name in ("run", "resume", "status", "list")),
    ]
    for command in commands:
        done = eos(*command, "--help")
        assert done.exit_code == 0
        assert f"Example: eos {' '.join(command)}" in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["study", "run", "quikstart"], "unknown study 'quikstart'; did you mean 'quickstart'?"),
        (["study", "run", "none.yaml"], "study file not found: none.yaml"),
        (["study", "run", "quickstart", "--set", "trails=3"], "unknown key 'trails'; did you mean 'trials'?"),
        (["study", "run", "quickstart", "--set", "search.steps=0"], "search: steps: "),
        (["study", "run", "quickstart", "--set", "nonsense"], "--set nonsense: expected key=value"),
        (["study", "run", "quickstart", "--runs", "/dev/null/x"], "/dev/null is a file"),
        (["study", "resume", "quickstart"], "study 'quickstart' has not been run"),
        (["study", "status", "quickstart"], "study 'quickstart' has not been run"),
        (["search", "--budget", "0", "-o", "x.json"], "search: budget: input should be greater than 0 (got 0.0)"),
        (["search", "--set", "stepz=3", "-o", "x.json"], "search: unknown key 'stepz'; did you mean 'steps'?"),
        (["search", "-o", "."], "cannot write ."),
        (
            ["search", "--also", "bundled-small", "--dry-run", "-o", "x.json"],
            "--also: a search over several places has",
        ),
        (["search", "--model", "bundeld", "-o", "x.json"], "did you mean 'bundled'"),
        (["evaluate", "none.json"], "operator file not found: none.json"),
        # looked for where studies keep them, and no store is made
        *(([*words, "models:/x@champion"], "no MLflow store at eos-runs/mlflow.db") for words in TAKE_OPERATORS),
        (["evaluate", "--model", "bundled-smal"], "did you mean 'bundled-small'"),
        (["evaluate", "--task", "seens", "--model", "bundled-small"], "unknown task 'seens'; did you mean 'scenes'"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_2(tmp_path, words, says):
    done = eos(*words)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.startswith("eos: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_same_from_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "eos_platform", "study", "run", "quikstart"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "eos: unknown study 'quikstart'; did you mean 'quickstart'?\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search", "--steps", "abc"], "invalid value for '--steps'"),
        (["search", "--budget", "abc"], "budget: expected a number such as 0.2, not 'abc'"),
        (["search", "--bugdet", "0.2"], "no such option: --bugdet"),
        (["study", "run"], "missing argument 'NAME|FILE'; see: "),
        (["study", "rum"], "no such command 'rum'"),
        (["desings"], "no such command 'desings'"),
        (["--nothing"], "no such option: --nothing"),
        (["dashboard", "--port", "99999"], "invalid value for '--port'"),
        (["evaluate", "--questions", "\x1b[31m"], r"invalid value for '--questions'"),
        (["search", "--device", "none-such", *QUICK, "--model", "bundled-small"], "device 'none-such' cannot be used"),
        (["evaluate", "--device", "none-such", "--model", "bundled-small"], "device 'none-such' cannot be used"),
        (["front", "--device", "none-such", "--model", "bundled-small"], "device 'none-such' cannot be used"),
    ],
)
def test_usage_errors_are_one_line_too(words, says):
    done = eos(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.startswith("eos: ")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_a_model_of_another_family_is_told_what_is_true(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "llava_nextt"}')
    done = eos("evaluate", "--model", "other")
    assert done.exit_code == 2
    (tmp_path / "other" / "config.json").write_text('{"model_type": "blip"}')
    says = eos("evaluate", "--model", "other").stderr
    assert "model 'other' is a 'blip', which is of no known family; known: aya_vision, cohere2_vision" in says


def test_shells_complete_the_commands(tmp_path):
    environment = {**os.environ, "_EOS_COMPLETE": "complete_bash", "COMP_WORDS": "eos des", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "eos_platform"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("designs", "")


def test_unknown_commands_and_missing_options_exit_2():
    assert eos("desings").exit_code == 2
    assert eos("study", "run").exit_code == 2


def test_designs_are_listed():
    shown = eos("designs").output
    for name in ("random", "fastv", "tome", "pool"):
        assert name in shown


def test_search_takes_as_many_steps_as_it_says():
    assert f"default {SearchConfig().steps}." in eos("search", "--help").output


def test_search_then_evaluate(tmp_path):
    done = eos(
        "search", "--model", "bundled-small", "--budget", 0.3, "--steps", 4, *QUICK, *ALONE, "-o", "found/op.json"
    )
    assert done.exit_code == 0, done.output
    operator = OperatorSpec.load(tmp_path / "found" / "op.json")
    for site, incoming in zip(operator.sites, operator.incoming, strict=True):
        assert f"{incoming} -> {site.keep}" in done.output
    assert "deployed: accuracy" in done.output
    assert "eos evaluate found/op.json --model bundled-small" in done.output

    done = eos("evaluate", "found/op.json", "--model", "bundled-small", "--questions", 32)
    assert done.exit_code == 0, done.output
    assert "32 questions) at compute ratio 0." in done.output
    assert "counting" in done.output
    assert "unreduced model: " in done.output
    assert "last\ntext" not in done.output, "no column of features that no site reads"

    done = eos("evaluate", "found/op.json", "--model", "bundled", "--questions", 32)
    assert done.exit_code == 2, "an operator of another model"
    assert done.stderr.startswith("eos: ")


def test_ctrl_c_in_a_search_is_no_traceback(monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("eos_platform.tasks.load_workload", stop)
    done = eos("evaluate", "--model", "bundled-small")
    assert (done.exit_code, done.stderr) == (130, "eos: stopped\n")


@pytest.mark.slow  # a whole study on a Ray of its own; tests/extension has one of as many commands
def test_a_real_study_from_run_to_status(study, tmp_path):
    done = eos("study", "run", study)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "eos-runs" / "tiny"
    assert "[2/2] trial" in done.output
    assert "files: eos-runs/tiny/pareto.html, eos-runs/tiny/points.csv" in done.output
    for words in ("tiny found a front of ", "its champion", "of the compute", "tiny: final comparison, "):
        assert words in done.output, words
    assert "eos explain eos-runs/tiny/operators/trial-" in done.output
    assert 'eos.attach(model, "models:/tiny@champion")' in done.output
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path / 'eos-runs' / 'mlflow.db'}" in done.output
    assert (folder / "points.csv").exists()

    status = eos("study", "status", "tiny")
    assert status.exit_code == 0
    assert "tiny: 2 of 2 trials, finished" in status.output
    assert "held-" in status.output
    assert "2 of 2  finished" in eos("study", "list").output
    again = eos("study", "resume", "tiny")
    assert again.exit_code == 0
    assert "finished earlier" in again.output


def test_status_of_an_unfinished_study(study, tmp_path):
    run_dir = run_dir_of(study_file.load(study), tmp_path / "eos-runs")
    run_dir.prepare()
    run_dir.study_file.write_text(study.read_text())
    with store.open_store(run_dir, create=True) as optuna_study:
        distributions = {name: dimension.distribution() for name, dimension in run_dir.study.space.items()}
        trial = optuna_study.ask(distributions)
        trial.set_user_attr(stored.MEASURED, {"accuracy": 0.75, "compute_ratio": 0.19, "mean_tokens": 20.0})
        optuna_study.tell(trial, [0.75, 0.19])
        failed = optuna_study.ask(distributions)
        failed.set_user_attr(stored.FAILURE, "ValueError: no")
        optuna_study.tell(failed, state=store.TrialState.FAIL)
        optuna_study.ask(distributions).set_user_attr(stored.RAY_ID, "abc")  # under way when its driver died
        store.requeue_lost_trials(optuna_study)
    shown = eos("study", "status", "tiny").output
    for words in ("75.0%", "0.190", "trial 1 failed: ValueError: no", "trial 3 runs trial 2 again", "waiting"):
        assert words in shown
    assert "tiny: 2 of 2 trials, the final comparison is missing; eos study resume tiny makes it" in shown
    other = eos("study", "run", study, "--set", "search.steps=5")
    assert other.exit_code == 2
    assert "belongs to another study (search.steps was 4, not 5)" in other.stderr


def test_the_package_at_a_glance():
    code = (
        "import sys, eos_platform as eos\n"
        "assert 'torch' not in sys.modules\n"
        "assert callable(eos.search) and callable(eos.search) and callable(eos.load_workload)\n"
        "import eos_platform.search.config\n"
        "assert eos.SearchConfig(budget=0.5).budget == 0.5 and callable(eos.search)\n"
        "assert set(eos.__all__) <= set(dir(eos))\n"
        "for name in eos.__all__: getattr(eos, name)\n"
        "try: eos.serch\n"
        "except AttributeError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'eos_platform' has no attribute 'serch'\n"
