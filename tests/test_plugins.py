"""What other installed packages add: found by entry point, loaded on demand, each broken for itself alone."""

import sys

import pytest
from optuna.samplers import RandomSampler
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COSTS
from eos_platform.models.adapters import ADAPTERS, family_of
from eos_platform.objectives import parse
from eos_platform.operators.designs import DESIGNS
from eos_platform.plugins import Registry, of_type
from eos_platform.registries import registries
from eos_platform.search.config import SearchConfig

MODULE = """
from eos_platform.operators.designs.base import Design
from eos_platform.operators.spec import SiteSpec

HALF = Design("half", "prune", "nobody", "half", lambda target, tokens, knobs: (SiteSpec(layer=0, keep=1),))
NOT_A_DESIGN = 3
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package of given entry points, for real as far as ``importlib.metadata`` can tell."""

    def install(points, module=MODULE, name="other-package"):
        (tmp_path / "eos_other.py").write_text(module)
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"[eos_platform.{group}]\n{key} = {value}\n" for group, key, value in points]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "eos_other", raising=False)

    return install


@pytest.fixture(autouse=True)
def _forget():
    """Registries look for entry points once a process."""
    yield
    for registry in registries():
        registry.forget()


def test_a_design_of_another_package_is_one_of_the_designs(installed):
    DESIGNS.forget()
    installed([("designs", "half", "eos_other:HALF")])
    assert "half" in DESIGNS
    assert list(DESIGNS)[-1] == "half"
    assert len(DESIGNS) == len(list(DESIGNS))
    assert DESIGNS.get_named("half").summary == "half"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("eos_other:NOT_A_DESIGN", "expected a Design, found int"),
        ("eos_other:MISSING", "has no attribute 'MISSING'"),
        ("eos_missing:HALF", "No module named 'eos_missing'"),
    ],
)
def test_a_broken_one_is_an_error_for_who_asks_for_it_and_hurts_nobody_else(installed, value, says):
    DESIGNS.forget()
    before = list(DESIGNS)
    DESIGNS.forget()
    installed([("designs", "half", value)])
    assert list(DESIGNS) == before
    assert "half" not in DESIGNS
    with pytest.raises(EosError, match=r"design 'half' of other-package 1\.2 cannot be loaded: ") as caught:
        DESIGNS.get_named("half")
    assert says in str(caught.value)
    assert DESIGNS.get_named("tome").name == "tome"


COST = """
class Sites:
    name, unit, label, relative, deterministic = "sites", "sites", "sites", False, True

    def measure(self, context, operator):
        return 1.0 + (len(operator.sites) if operator else 0)

    def relaxed(self, context, sites, counts):
        return None


class Half:
    name = "half"
"""


def test_a_cost_of_another_package_is_one_of_the_costs(installed):
    COSTS.forget()
    installed([("costs", "sites", "eos_other:Sites"), ("costs", "half", "eos_other:Half")], module=COST)
    assert COSTS["sites"].unit == "sites"
    assert SearchConfig.of({"cost": "sites", "budget": "2 sites"}).budget == 2.0
    assert [one.metric for one in parse({"accuracy": "maximise", "sites": "minimise"}, COSTS)] == ["accuracy", "sites"]
    with pytest.raises(
        EosError, match=r"cost: cost 'half' of other-package 1\.2 cannot be loaded: TypeError: a cost has"
    ):
        SearchConfig.of({"cost": "half", "budget": 1.0})
    shown = CliRunner().invoke(cli.app, ["plugins"], env={"COLUMNS": "300"})
    assert "sites" in shown.output
    assert "broken: TypeError: a cost has unit, label, relative, deterministic, measure, relaxed" in shown.output


def test_a_cost_is_called_as_its_entry_point_is(installed):
    COSTS.forget()
    installed([("costs", "places", "eos_other:Sites")], module=COST)
    with pytest.raises(EosError, match="the entry point is called 'places' and the cost 'sites'"):
        COSTS.get_named("places")


def test_a_module_that_raises_while_it_is_imported_is_one_line_too(installed):
    DESIGNS.forget()
    installed([("designs", "half", "eos_other:HALF")], module="raise ValueError('first\\nsecond')")
    with pytest.raises(EosError, match=r"ValueError: first \(in eos_other:HALF\)$"):
        DESIGNS.get_named("half")


def test_a_built_in_name_cannot_be_taken(installed):
    DESIGNS.forget()
    tome = DESIGNS["tome"]
    installed([("designs", "tome", "eos_other:HALF")])
    assert DESIGNS["tome"] is tome
    (taken,) = [found for found in DESIGNS.found() if found.package.startswith("other-package")]
    assert taken.problem == "the name is taken by eos-platform"


def test_a_family_is_found_by_its_model_type(installed):
    module = """
from eos_platform.models.adapters.base import Family

class Other(Family):
    name = "Other"
    model_types = ("eos_other",)
"""
    ADAPTERS.forget()
    installed([("families", "other", "eos_other:Other")], module=module)

    class Model:
        class config:
            model_type = "eos_other"

        model = None

    assert family_of(Model()).name == "Other"


def test_the_command_lists_them_with_what_is_broken(installed):
    for registry in registries():
        registry.forget()
    installed([("designs", "half", "eos_other:HALF"), ("samplers", "mine", "eos_missing:make")])
    done = CliRunner().invoke(cli.app, ["plugins"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "half" in done.stdout
    assert "No module named 'eos_missing'" in done.stdout
    assert "1 broken" in done.stdout
    assert "tome" not in done.stdout
    everything = CliRunner().invoke(cli.app, ["plugins", "--all"], env={"COLUMNS": "200"})
    assert "tome" in everything.stdout


def test_a_class_is_made_an_instance():
    class Thing:
        pass

    registry = Registry("thing", "things", of_type(Thing))
    registry.register("one", of_type(Thing)(Thing))
    assert isinstance(registry["one"], Thing)
    with pytest.raises(EosError, match="unknown thing 'on'; did you mean 'one'"):
        registry.get_named("on")


def test_a_sampler_is_a_function_of_a_proposal(installed):
    from eos_platform.engine.schema.sections import Sampler
    from eos_platform.engine.strategy.samplers import SAMPLERS, make_sampler

    SAMPLERS.forget()
    module = "from optuna.samplers import RandomSampler\ndef make(of): return RandomSampler(seed=of.seed)\n"
    installed([("samplers", "mine", "eos_other:make")], module=module)
    assert isinstance(make_sampler(Sampler(name="mine"), 0, 4, {}), RandomSampler)
