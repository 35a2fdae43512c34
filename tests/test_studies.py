"""studies/README.md says what the schema says: every key, with its default."""

import re
from importlib import resources

import pytest
import yaml

from eos_platform.engine.schema.study_file import Final, StudyFile
from eos_platform.operators.spec import Target
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import candidate_layers

TEXT = resources.files("eos_platform").joinpath("studies", "README.md").read_text("utf-8")
STUDY, SETTINGS = (
    dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", part, re.MULTILINE)) for part in TEXT.split("## Settings of the search")
)


def test_every_key_of_a_study_is_described():
    assert list(STUDY) == list(StudyFile.model_fields)
    study = StudyFile.of({"name": "s", "space": {"budget": {"float": [0.1, 0.2]}}})
    assert STUDY["task"] == f"the model's own, else `{study.task}`"
    for key in ("model", "trials", "concurrent"):
        assert STUDY[key].strip("`") == str(getattr(study, key))
    assert STUDY["sampler"] == f"`{study.sampler.name}`"
    assert STUDY["resources"] == f"`{{cpu: {study.resources.cpu:g}, gpu: {study.resources.gpu}}}`"


def test_every_setting_of_a_search_is_described_with_its_default():
    assert list(SETTINGS) == list(SearchConfig.model_fields)
    for name, default in SearchConfig():
        if name == "layers":
            continue
        said = str(default).lower() if isinstance(default, bool) or default is None else str(default)
        assert SETTINGS[name].strip("`") == said, name


def test_the_default_layers_are_those_described():
    assert SETTINGS["layers"] == "before the first layer, and at 5/8 of the depth"
    for depth, layers in ((1, (0,)), (6, (0, 4)), (8, (0, 5)), (32, (0, 20))):
        assert candidate_layers(SearchConfig(), Target(layers=depth, grid=(4, 4))) == layers


def test_the_final_comparison_is_described():
    row = next(line for line in TEXT.splitlines() if line.startswith("| `final`"))
    final = Final()
    assert set(Final.model_fields) <= set(re.findall(r"`(\w+)`", row))
    assert f"({final.questions})" in row
    assert f"({', '.join(f'`{name}`' for name in final.baselines)})" in row
    assert f"`ratios` ({final.ratios}:" in row


@pytest.mark.parametrize("example", re.findall(r"^    (\w+: \{.*\})$", TEXT, re.MULTILINE))
def test_the_examples_are_valid(example):
    found = yaml.safe_load(example)
    parts = {key: value for key, value in found.items() if key in StudyFile.model_fields}
    varied = {key: value for key, value in found.items() if key not in parts}
    rest = {"search": {"eval_every": 15}, "space": {"budget_rule": {"choice": ["exact", "penalty", "two-sided"]}}}
    StudyFile.of({"name": "s", **rest, **parts} | {"space": {**rest["space"], **varied}})
