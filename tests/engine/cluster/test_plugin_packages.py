"""What nodes of a cluster must have of other packages: what the study uses, in the driver's versions, and no more."""

import json
import sys

import pytest

from eos_platform.engine.cluster.node_report import PLUGIN, reporter
from eos_platform.engine.cluster.plugin_packages import packages_of
from eos_platform.engine.cluster.preflight import Node, problems_of
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.registries import registries

MODULE = """
from eos_platform.models.adapters.base import Family

class Other(Family):
    name, model_types = "Other", ("eos_other",)

class Pairs:
    name = label = "pairs"
    unit, relative, deterministic = "", True, True
    def measure(self, context, operator): return 1.0
    def relaxed(self, context, sites, counts): return None

class Asks:
    name, version, groups = "asks", "1", ("one",)
    def examples(self, split, count): return []
    def score(self, output, example): return 1.0
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "eos_others.py").write_text(MODULE)
    points = {"families": "other = eos_others:Other", "costs": "pairs = eos_others:Pairs"}
    points |= {"tasks": "asks = eos_others:Asks", "designs": "none = eos_others:Asks"}
    for group, line in points.items():
        info = tmp_path / f"eos_{group}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: eos-{group}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[eos_platform.{group}]\n{line}\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "eos_other"}))
    monkeypatch.syspath_prepend(str(tmp_path))
    for registry in registries():
        registry.forget()
    yield tmp_path
    monkeypatch.delitem(sys.modules, "eos_others", raising=False)
    for registry in registries():
        registry.forget()


def study(**more):
    return StudyFile.of({"name": "s", "space": {"budget": {"choice": [0.5, 0.7]}}, **more})


def test_a_study_needs_the_packages_of_what_its_workers_load(installed):
    assert packages_of(study()) == set()
    assert packages_of(study(task="asks")) == {"eos-tasks"}
    assert packages_of(study(search={"cost": "pairs"})) == {"eos-costs"}
    assert packages_of(study(objectives={"accuracy": "maximise", "pairs": "minimise"})) == {"eos-costs"}
    assert packages_of(study(constraints={"pairs": 0.9})) == {"eos-costs"}
    assert packages_of(study(model=str(installed / "model"))) == {"eos-families"}
    assert packages_of(study(model="nowhere")) == set()


def test_a_node_must_have_them_as_the_driver_has_them(installed):
    here = reporter()("", "", "")
    assert {key for key in here if key.startswith(PLUGIN)} == {f"{PLUGIN}eos-{one}" for one in points_of_workers()}
    lacks = {key: value for key, value in here.items() if key != f"{PLUGIN}eos-costs"}
    other = here | {f"{PLUGIN}eos-costs": "1.1"}
    assert problems_of(Node("1", "a", facts=here), here, token=False) == ()
    (said,) = problems_of(Node("1", "a", facts=lacks), here, token=False)
    assert said == "lacks eos-costs 1.2, which the study uses: install the driver's there"
    (said,) = problems_of(Node("1", "a", facts=other), here, token=False)
    assert said == "has eos-costs 1.1, the driver has 1.2, which the study uses: install the driver's there"
    assert problems_of(Node("1", "a", facts=here), lacks, token=False) == ()  # what the driver does not use


def points_of_workers():
    return ("families", "tasks", "costs")
