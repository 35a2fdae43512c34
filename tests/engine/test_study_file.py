"""Study files: what is accepted, and the one line that says why something is not."""

import pytest
import yaml
from engine_fakes import study_file

from eos_platform.engine import study_file as files
from eos_platform.engine.space import Dimension
from eos_platform.engine.study_file import StudyFile
from eos_platform.errors import EosError

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
        ({"sampler": "tpee"}, "sampler.name: unknown value 'tpee'; did you mean 'tpe'?"),
        ({"sampler": {"sed": 1}}, "unknown key 'sampler.sed'; did you mean 'seed'?"),
        ({"trials": 0}, "trials: input should be greater than or equal to 1 (got 0)"),
        ({"resources": {"cpu": 0}}, "resources.cpu: input should be greater than 0 (got 0)"),
        ({"objectives": {"accuracy": "minimise", "compute_ratio": "minimise"}}, "accuracy can only be maximised"),
        ({"objectives": {"acuracy": "maximise"}}, "unknown objective 'acuracy'; did you mean 'accuracy'?"),
        ({"objectives": {"accuracy": "maximise"}}, "both accuracy: maximise and compute_ratio: minimise are needed"),
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
        {"name": "a", "space": {"budget": {"choice": ["1e-1", 1]}, "layers": {"choice": [[0, 2], None]}}}
    )
    assert study.space["budget"].choice == (0.1, 1.0)
    layers = study.space["layers"]
    assert layers.distribution().choices == ("[0, 2]", None)
    assert [layers.value(told) for told in layers.distribution().choices] == [(0, 2), None]


def test_distributions():
    steps = Dimension.model_validate({"int": [10, 50], "step": 10}).distribution()
    assert (steps.low, steps.high, steps.step, steps.log) == (10, 50, 10, False)
    rate = Dimension.model_validate({"float": [0.1, 1], "log": True}).distribution()
    assert (rate.low, rate.high, rate.log) == (0.1, 1.0, True)
