"""Only numbers pass for numbers, in every kind of file; YAML means what people mean by it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from eos_platform.analysis.comparison.settings import Settings, parse_search
from eos_platform.common import strict_yaml
from eos_platform.common.errors import EosError
from eos_platform.engine.schema import study_file as files
from eos_platform.engine.schema.safe_yaml import parse
from eos_platform.engine.schema.space import Dimension
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import Progress
from eos_platform.search.config import SearchConfig


def test_no_field_takes_a_word_or_a_flag_for_a_number() -> None:
    """Of every model that files are read into: whoever adds a field is reminded."""
    for model in (OperatorSpec, SearchConfig, StudyFile, Dimension, Settings, Progress):
        assert set(lax(TypeAdapter(model).core_schema)) == set(), model


def lax(schema: Any, name: str = "") -> Iterator[str]:
    """Fields whose numbers are not strict."""
    if isinstance(schema, dict) and "JsonValue" not in str(schema.get("ref")):  # free data, such as where it is from
        if schema.get("type") in ("int", "float", "bool") and not schema.get("strict"):
            yield name
        for key, inner in schema.items():
            if key == "fields" and isinstance(inner, dict):
                for field, one in inner.items():
                    yield from lax(one, field)
            elif key not in ("metadata", "json_schema_input_schema"):
                yield from lax(inner, name)
    elif isinstance(schema, (list, tuple)):
        for inner in schema:
            yield from lax(inner, name)


HEAD = "name: a\nspace: {budget: {float: [0.1, 0.4]}}\n"


def study(tmp_path: Path, text: str) -> StudyFile:
    path = tmp_path / "s.yaml"
    path.write_text(text if "space" in text else HEAD + text)
    return files.load(path)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('trials: "2"', "trials"),
        ("trials: true", "trials"),
        ("trials: 2.0", "trials"),
        ("concurrent: '2'", "concurrent"),
        ("resources: {cpu: '1'}", "resources.cpu"),
        ("resources: {cpu: true}", "resources.cpu"),
        ("resources: {gpu: '1'}", "resources.gpu"),
        ("resources: {gpu: true}", "resources.gpu"),
        ("sampler: {seed: 1.0}", "sampler.seed"),
        ("scheduler: {name: moasha, grace: '2'}", "scheduler.grace"),
        ("scheduler: {name: moasha, grace: 2, spare_front: 1}", "scheduler.spare_front"),
        ("constraints: {accuracy: {all: '0.9'}}", "constraints.accuracy.all"),
        ("constraints: {compute_ratio: true}", "constraints.compute_ratio"),
        ("warm_start: {max_searches: 1.0}", "warm_start.max_searches"),
        ("final: {questions: '9'}", "final.questions"),
        ("search: {steps: '9'}", "search: steps"),
        ("search: {steps: 9.0}", "search: steps"),
        ("search: {probe: 1}", "search: probe"),
        ("search: {layers: [0, true]}", "search: layers.1"),
        ("search: {learning_rate: true}", "search: learning_rate"),
        ("name: a\nspace: {budget: {float: ['0.1', 0.4]}}", "space.budget.float.0"),
        ("name: a\nspace: {steps: {int: [4, 8.0]}}", "space.steps.int.1"),
        ("name: a\nspace: {steps: {choice: [4, '8']}}", "space: steps"),
        ("name: a\nspace: {probe: {choice: [true, 1]}}", "space: probe"),
    ],
)
def test_only_numbers_pass_for_numbers_in_a_study_file(tmp_path, text, where):
    with pytest.raises(EosError, match=r"valid (number|integer|boolean)|must be a number of GPUs") as caught:
        study(tmp_path, text)
    assert f"s.yaml: {where}: " in str(caught.value)


def test_numbers_are_read_as_people_mean_them(tmp_path):
    found = study(
        tmp_path,
        "name: no\ndescription: 2020-13-45\ntrials: 1_000\nconcurrent: 010\n"
        "search: {learning_rate: 1e-3, task_weight: 1, budget_warm_up: +2.5, align_weight: .5, "
        "probe: yes, size_bias: off, "
        "eval_every: 2}\n"
        "space: {budget: {choice: [1e-1, 1]}}\nscheduler: {name: moasha, grace: 2, spare_front: no}\n",
    )
    assert (found.name, found.description, found.trials, found.concurrent) == ("no", "2020-13-45", 1000, 10)
    config = SearchConfig.of(found.search)
    assert (config.learning_rate, config.budget_warm_up, config.align_weight) == (0.001, 2.5, 0.5)
    assert (config.probe, config.size_bias, found.scheduler.spare_front) == (True, False, False)
    assert found.space["budget"].choice == (0.1, 1.0)
    assert StudyFile.of(parse(found.to_yaml(), "again")) == found
    assert parse_search(["learning_rate=1e-3", "budget_warm_up=.5", "probe=no", "layers=[0, 2]"]) == {
        "learning_rate": 0.001,
        "budget_warm_up": 0.5,
        "probe": "no",
        "layers": [0, 2],
    }


WORDS = ["yes", "no", "1e-3", "010", "1:30", "", "~", "null", "true", "=", "<<", ".5", "1_000", "0o7", "a: b", "é", "-"]


@pytest.mark.parametrize("word", [*WORDS, "2020-01-01", "0b1", "12e03", " x ", "#", ".inf", ".nan", "y"])
def test_words_stay_words_when_they_are_written(word):
    text = strict_yaml.dump({"k": word})
    assert parse(text, "file") == yaml.safe_load(text) == {"k": word}


@pytest.mark.parametrize("value", [0, -1, 1e-5, 1e16, 0.1, 2.0, None, True, [1, [2.5, "a"]], {"a": {"b": None}}])
def test_values_stay_values_when_they_are_written(value):
    text = strict_yaml.dump({"k": value})
    assert repr(parse(text, "file")) == repr(yaml.safe_load(text)) == repr({"k": value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{1: a, 1.0: b}", "key '1.0' is given twice"),
        ("{a: 1, 'a': 2}", "key 'a' is given twice"),
        ("{a: {b: 1, b: 1}}", "key 'b' is given twice"),
        ("[{a: 1}, {a: 1, a: 2}]", "key 'a' is given twice"),
        ("a: -.INF", "-.INF is not a finite number"),
        ("a: .NaN", ".NaN is not a finite number"),
        ("a: 1e400", "1e400 is not a finite number"),
        ("a: !!float nan", "nan is not a finite number"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, says):
    with pytest.raises(EosError, match="file: not YAML: ") as caught:
        parse(text, "file")
    assert says in str(caught.value)


def test_a_merged_mapping_may_be_overridden():
    assert parse("a: &x {b: 1, c: 1}\nd: {<<: *x, b: 2}", "file")["d"] == {"b": 2, "c": 1}


def test_operators_and_studies_that_ship_load_and_are_written_as_before():
    results = Path(str(files.__file__)).parents[2] / "studies" / "results" / "operators"
    for path in results.glob("*.json"):
        assert OperatorSpec.from_json(OperatorSpec.load(path).to_json()) == OperatorSpec.load(path)
        assert OperatorSpec.load(path).to_json() == path.read_text()
    for path in files.packaged().values():
        found = files.load(path)
        assert StudyFile.of(yaml.safe_load(found.to_yaml())) == found
        assert StudyFile.of(yaml.safe_load(path.read_text())) == found
