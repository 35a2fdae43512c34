"""Study files: what is accepted, and the one line that says why something is not."""

import pytest
import yaml
from engine_fakes import study_file

from eos_platform.common.errors import EosError
from eos_platform.engine.driver import extremes
from eos_platform.engine.schema import study_file as files
from eos_platform.engine.schema.space import Dimension, corners
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store.run_dir import run_dir_of

GOOD = {"name": "a", "space": {"budget": {"choice": [0.1, 0.2]}}}


def test_a_short_file_has_every_default():
    study = StudyFile.of(GOOD)
    assert (study.model, study.task, study.sampler.name, study.trials) == ("bundled", "scenes", "tpe", 20)
    assert study.objectives == {"accuracy": "maximise", "compute_ratio": "minimise"}


def test_written_and_read_back_a_study_is_equal():
    study = study_file(sampler={"name": "qmc", "seed": 3}, resources={"gpu": 0.25}, description="two: words")
    again = StudyFile.of(yaml.safe_load(study.to_yaml()))
    assert again == study
    assert again.identity() == study.identity()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trails": 3}, "unknown key 'trails'; did you mean 'trials'?"),
        ({"name": "a/b"}, "name: 'a/b' must be letters"),
        ({"space": {}}, "space: "),
        ({"space": {"budgt": {"choice": [0.1]}}}, "space: unknown search field 'budgt'; did you mean 'budget'?"),
        ({"space": {"budget": {"choose": [0.1]}}}, "unknown key 'space.budget.choose'; did you mean 'choice'?"),
        ({"space": {"budget": {"choice": [0.1, -1]}}}, "space: budget: input should be greater than 0 (got -1)"),
        ({"space": {"budget": {"float": [0, 0.5]}}}, "space: budget: input should be greater than 0 (got 0.0)"),
        ({"space": {"budget": {"float": [0.5, 0.1]}}}, "space.budget: the low end 0.5 is above the high end 0.1"),
        ({"space": {"budget": {"float": [0.1, 0.2], "choice": [1]}}}, "space.budget: give exactly one of"),
        ({"space": {"budget": {"choice": [0.1], "log": True}}}, "space.budget: log and step belong to"),
        ({"space": {"seed": {"int": [0, 3], "log": True}}}, "space.seed: a logarithmic range starts above 0"),
        ({"space": {"budget": {"choice": [0.1, 0.1]}}}, "space.budget.choice: a value is given twice"),
        ({"space": {"budget": {"float": [0.1, "x"]}}}, "space.budget.float.1: "),
        ({"search": {"budget": 0.2}}, "'budget' is both fixed in search and varied in space"),
        ({"search": {"step": 9}}, "search: unknown key 'step'; did you mean 'steps'?"),
        ({"search": {"steps": 0}}, "search: steps: input should be greater than or equal to 4 (got 0)"),
        ({"sampler": "tpee"}, "sampler.name: unknown sampler 'tpee'; did you mean 'tpe'?"),
        ({"sampler": {"sed": 1}}, "unknown key 'sampler.sed'; did you mean 'seed'?"),
        ({"sampler": {"seed": 2**32}}, "sampler.seed: input should be less than 2147483648"),
        ({"stores": {"optuna": "sqlite://"}}, "stores.optuna: 'sqlite://' is kept in memory"),
        ({"stores": {"optuna": "sqlite:///:memory:"}}, "stores.optuna: 'sqlite:///:memory:' is kept in memory"),
        ({"trials": 10**30}, "trials: input should be less than or equal to 1000000"),
        (
            {"scheduler": {"name": "moasha", "grace": 2, "reduction": 1 + 1e-13}},
            "scheduler.reduction: input should be greater than or equal to 1.1",
        ),
        ({"trials": 0}, "trials: input should be greater than or equal to 1 (got 0)"),
        ({"resources": {"cpu": 0}}, "resources.cpu: input should be greater than 0 (got 0)"),
        ({"objectives": {"accuracy": "minimise", "compute_ratio": "minimise"}}, "accuracy can only be maximised"),
        ({"resources": {"gpu": "all"}}, "resources.gpu: must be a number of GPUs (0 or more) or 'auto', not 'all'"),
        ({"objectives": {"accuracy": "maximize", "compute_ratio": "minimise"}}, "did you mean 'maximise'?"),
        ({"name": "a" * 101}, "name: a name has at most 100 characters"),
        ({"name": "mlflow.db"}, "name: 'mlflow.db' is taken"),
        ({"space": {"steps": {"float": [10, 20]}}}, "space.steps: a whole number varies as int"),
        ({"space": {"budget": {"float": [0.1, 0.2], "step": float("inf")}}}, "space.budget.step: "),
        ({"space": {"budget": {"float": [0.1, 0.2], "step": float("nan")}}}, "space.budget.step: "),
        ({"space": {"budget": {"float": [0.1, 0.2], "step": 0.5}}}, "the step 0.5 is longer than the range"),
        (
            {"space": {"temperature_start": {"float": [0.1, 1]}, "temperature_end": {"float": [0.05, 0.5]}}},
            "temperature_end must not be above temperature_start; the space allows temperature_start 0.1, "
            "temperature_end 0.5",
        ),
        ({"objectives": {"acuracy": "maximise"}}, "unknown objective 'acuracy'; did you mean 'accuracy'?"),
        ({"objectives": {"accuracy": "maximise"}}, "two or three objectives are needed, not 1"),
        ({"search": {"servable": "vlm"}}, "did you mean 'vllm'"),
        ({"search": {"servable": "vllm", "layers": [0, 3]}}, "sites before the language model"),
        ({"search": {"servable": "vllm"}, "space": {"layers": {"choice": [[0], [0, 3]]}}}, "the space allows layers"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(changes, says):
    with pytest.raises(EosError) as caught:
        StudyFile.of({**GOOD, **changes}, "my.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")
    assert "\n" not in str(caught.value)


def test_missing_key():
    with pytest.raises(EosError, match=r"missing key 'name'"):
        StudyFile.of({"space": GOOD["space"]})


@pytest.mark.parametrize("text", ["", "- 1\n", "just words"])
def test_a_file_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(EosError, match="is a mapping of keys"):
        files.load(path)
    with pytest.raises(EosError, match="is no place in the study file"):
        files.load(path, ["trials=3"])


def test_yaml_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(EosError, match=r"not YAML: .* \(line 1\)"):
        files.load(path)


def test_broken_yaml_names_the_line(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("name: a\nspace: {budget: [\n")
    with pytest.raises(EosError, match=r"not YAML: .*\(line \d\)"):
        files.load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trials: .inf", r"\.inf is not a finite number"),
        ("search: {budget_warm_up: 1e999}", "1e999 is not a finite number"),
        ("search: {probe: true, probe: false}", "key 'probe' is given twice"),
        ("trials: !!int zz", "invalid literal"),
        ("trials: !!bool foo", "no value for 'foo'"),
        ("trials: " + "9" * 6000, "a number of 6,000 characters"),
        ("trials: " + "[" * 5000, "nested more than 40 deep"),
        ("trials: 1\nname: a\ntrials: 2", r"key 'trials' is given twice \(line 3\)"),
    ],
)
def test_yaml_that_makes_no_value(tmp_path, text, says):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(EosError, match=f"not YAML: .*{says}"):
        files.load(path)
    key, _, value = text.partition(": ")
    if "\n" not in text:
        with pytest.raises(EosError, match=f"--set {key}=.*: not YAML: .*{says}"):
            files.parse_override(f"{key}={value}")


def test_merge_keys_may_be_overridden(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("search: &s {steps: 5}\nname: a\nspace: {budget: {choice: [0.1]}}\nfinal: {questions: 7}\n")
    assert files.load(path).search == {"steps": 5}


def test_values_that_agree_only_with_each_other_are_allowed():
    space = {"temperature_start": {"float": [0.01, 0.02]}, "temperature_end": {"float": [0.001, 0.005]}}
    assert StudyFile.of({"name": "a", "space": space}).space


def test_every_two_of_many_dimensions_are_tried_together():
    space = {name: Dimension.model_validate({"choice": list(range(1, 8))}) for name in "abcd"}
    space["e"] = Dimension.model_validate({"choice": ["x", "y"]})
    assert len(list(corners(space))) == 2**5
    space |= {name: Dimension.model_validate({"float": [1, 2]}) for name in "fghi"}
    found = list(corners(space))
    assert len(found) == 4 * 9 * 8 // 2
    assert all(one.keys() == space.keys() for one in found)


def test_passwords_are_masked_but_where_a_resume_needs_them():
    study = study_file(stores={"optuna": "postgresql://me:secret@host/db", "storage": "/tmp/x"})
    assert study.secret
    assert not study_file().secret
    assert "secret" not in study.to_yaml()
    assert "postgresql://***@host/db" in study.to_yaml()
    assert StudyFile.of(yaml.safe_load(study.to_yaml(secrets=True))) == study


@pytest.mark.parametrize(
    "override",
    [
        "stores.optuna:postgresql://somebody:hunter2@db/optuna",
        'stores.optuna="postgresql://somebody:hunter2@a-host-with-a-name-of-some-length/optuna',
        "stores.optuna=[postgresql://somebody:hunter2@a-host-with-a-name-of-some-length/optuna]",
        "stores=postgresql://somebody:hunter2@db/optuna",
        "trials.x.y=postgresql://somebody:hunter2@db/optuna",
    ],
)
def test_a_password_in_the_wrong_place_is_not_said_again(tmp_path, override):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    with pytest.raises(EosError) as caught:
        files.load(path, [override])
    assert "hunter2" not in str(caught.value)


def test_the_smallest_budget_is_tried_with_each_choice_of_sites():
    space = {"budget": {"choice": [0.2, 0.1]}, "layers": {"choice": [[0, 2], None]}}
    tried = extremes(StudyFile.of({"name": "a", "space": space}))
    assert [(one.budget, one.layers) for one in tried] == [(0.1, (0, 2)), (0.1, None)]


def test_missing_file_and_unknown_name():
    with pytest.raises(EosError, match=r"study file not found: nowhere\.yaml"):
        files.load(files.find("nowhere.yaml"))
    with pytest.raises(EosError, match="unknown study 'quikstart'; did you mean 'quickstart'"):
        files.find("quikstart")


def test_packaged_studies_are_valid():
    assert "quickstart" in files.packaged()
    for path in files.packaged().values():
        assert files.load(path).space


def test_overrides(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "sampler": "random"}))
    study = files.load(path, ["trials=7", "search.steps=12", "sampler.seed=4", "final.baselines=[tome]"])
    assert (study.trials, study.search, study.final.baselines) == (7, {"steps": 12}, ("tome",))
    assert (study.sampler.name, study.sampler.seed) == ("random", 4)
    for bad, says in [("trials", "expected key=value"), ("trials=[", "not YAML"), ("trials.x=1", r"trials")]:
        with pytest.raises(EosError, match=says):
            files.load(path, [bad])


def test_identity_is_what_makes_another_study():
    same = study_file(trials=50, concurrent=1, sampler="random", final={"questions": 5}, description="more")
    other = study_file(search={"steps": 5})
    assert same.identity() == study_file().identity() != other.identity()


def test_choices_take_the_types_of_their_fields():
    study = StudyFile.of(
        {"name": "a", "space": {"budget": {"choice": [1e-1, 1]}, "layers": {"choice": [[0, 2], None]}}}
    )
    assert study.space["budget"].choice == (0.1, 1.0)
    layers = study.space["layers"]
    assert layers.distribution().choices == ("[0, 2]", None)
    assert [layers.value(choice) for choice in layers.distribution().choices] == [(0, 2), None]


def test_distributions():
    steps = Dimension.model_validate({"int": [10, 50], "step": 10}).distribution()
    assert (steps.low, steps.high, steps.step, steps.log) == (10, 50, 10, False)
    rate = Dimension.model_validate({"float": [0.1, 1], "log": True}).distribution()
    assert (rate.low, rate.high, rate.log) == (0.1, 1.0, True)


def test_a_store_in_memory_is_refused_from_the_environment_too(tmp_path, monkeypatch):
    study = StudyFile.of({"name": "s", "space": {"budget": {"float": [0.1, 0.5]}}})
    monkeypatch.setenv("EOS_STORES_OPTUNA", "sqlite:///:memory:")
    with pytest.raises(EosError, match=r"EOS_STORES_OPTUNA: .* is kept in memory"):
        run_dir_of(study, tmp_path).check()
