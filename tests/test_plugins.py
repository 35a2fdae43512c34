"""What other installed packages add: found by entry point, loaded on demand, each broken for itself alone."""

import sys

import pytest
from optuna.samplers import RandomSampler
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COSTS
from eos_platform.models.adapters import ADAPTERS, family_of, family_of_type
from eos_platform.objectives import parse
from eos_platform.operators.designs import DESIGNS
from eos_platform.plugins import Registry, of_type
from eos_platform.protocols import Example
from eos_platform.registries import registries
from eos_platform.search.config import SearchConfig
from eos_platform.tasks.metrics.registry import METRICS

MODULE = """
from eos_platform.operators.designs.base import Design
from eos_platform.operators.spec import SiteSpec

HALF = Design("half", "prune", "nobody", "half", lambda target, tokens, knobs: (SiteSpec(layer=0, keep=1),))
NOT_A_DESIGN = 3
"""

FAMILY = """
from eos_platform.models.adapters.base import Family

class THING(Family):
    name = "Other"
    model_types = {types}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package of given entry points, for real as far as ``importlib.metadata`` can tell."""

    def install(points, module=MODULE, name="other-package", file="eos_other"):
        (tmp_path / f"{file}.py").write_text(module)
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"[eos_platform.{group}]\n{key}{f' = {value}' if value else ''}\n" for group, key, value in points]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, file, raising=False)

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
    assert "cost 'half' of other-package 1.2: TypeError: a cost has unit, label, relative" in shown.output


def test_a_cost_is_called_as_its_entry_point_is(installed):
    COSTS.forget()
    installed([("costs", "places", "eos_other:Sites")], module=COST)
    with pytest.raises(EosError, match="the entry point is called 'places' and the cost 'sites'"):
        COSTS.get_named("places")


def test_a_metric_of_another_package_is_one_of_the_metrics(installed):
    code = "return 0.75 * (output[:1] == example.answer[:1])"
    module = f'def loose(output, example):\n    "One of the answers begins it."\n    {code}\n'
    installed([("metrics", "loose", "eos_other:loose")], module)
    metric = METRICS.get_named("loose")
    assert metric.features == "One of the answers begins it."
    assert metric.worth("cat", Example(None, "q", ("cow",))) == 0.75
    assert metric.worth("dog", Example(None, "q", ("cow",))) == 0


def test_a_module_that_raises_while_it_is_imported_is_one_line_too(installed):
    DESIGNS.forget()
    installed([("designs", "half", "eos_other:HALF")], module="raise ValueError('first\\nsecond')")
    with pytest.raises(EosError, match=r"ValueError: first \(in eos_other:HALF\)$"):
        DESIGNS.get_named("half")


BROKEN = {  # what a module says -> what is wrong with it, as a plug-in of a kind
    "designs": {
        "import nothing_of_this_name": "No module named 'nothing_of_this_name'",
        "def THING(:": "SyntaxError",
        "raise SystemExit('no licence here')": "SystemExit: no licence here",
        "THING = 3": "expected a Design, found int",
        "OTHER = 3": "has no attribute 'THING'",
        MODULE + "\nTHING = HALF": "the entry point is called 'thing' and the design 'half'",
        MODULE
        + "\nfrom dataclasses import replace\nTHING = replace(HALF, regime='prun')": "regime is one of identity, ",
    },
    "families": {
        "THING = 3": "expected a Family, found int",
        "from eos_platform.models.adapters.base import Family as THING": "a family has a name",
        FAMILY.format(types="'eos_other'"): "model_types are a tuple of texts, such as ('llava',), not 'eos_other'",
        FAMILY.format(types="('eos_other', 'llava')"): "model type 'llava' is of the family 'LLaVA-1.5'",
    },
    "samplers": {
        "THING = 3": "expected a function of a Proposal that returns an Optuna sampler, found int",
        "from optuna.samplers import RandomSampler as THING": "found the class RandomSampler",
    },
    "tasks": {"THING = 3": "expected a task or what makes one, found int"},
}


@pytest.mark.parametrize(
    ("group", "module", "says"),
    [(group, module, says) for group, each in BROKEN.items() for module, says in each.items()],
)
def test_whatever_is_wrong_with_a_plug_in_is_one_line_and_its_own_affair(installed, group, module, says):
    for registry in registries():
        registry.forget()
    (registry,) = [one for one in registries() if one.group == f"eos_platform.{group}"]
    before = list(registry)
    registry.forget()
    installed([(group, "thing", "eos_other:THING")], module=module)
    done = CliRunner().invoke(cli.app, ["plugins"])
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{registry.kind} 'thing'")]
    assert line.startswith(f"{registry.kind} 'thing' of other-package 1.2: ")
    assert says in line
    assert list(registry) == before
    with pytest.raises(EosError, match=r"of other-package 1\.2 cannot be loaded: "):
        registry.get_named("thing")


def test_of_two_packages_with_one_name_the_first_by_name_has_it(installed):
    """Wherever they lie: nodes of a cluster must agree."""
    DESIGNS.forget()
    other = MODULE.replace('"nobody"', '"somebody"')
    installed([("designs", "half", "eos_second:HALF")], module=other, name="b-package", file="eos_second")
    installed([("designs", "half", "eos_other:HALF")], name="c-package")
    assert DESIGNS.get_named("half").source == "somebody"
    done = CliRunner().invoke(cli.app, ["plugins"])
    assert done.stdout.count("design 'half' of c-package 1.2: the name is taken by b-package 1.2\n") == 1
    assert "1 broken" in done.stdout


def test_of_two_packages_with_one_model_type_the_first_by_name_has_it(installed):
    ADAPTERS.forget()
    module = FAMILY.format(types="('eos_other',)")
    installed([("families", "two", "eos_other:THING")], module=module, name="c-package")
    installed([("families", "one", "eos_second:THING")], module=module.replace("Other", "First"), file="eos_second")
    done = CliRunner().invoke(cli.app, ["plugins"])
    assert (
        "family 'one' of other-package 1.2: TypeError: model type 'eos_other' is of the family 'Other'" in done.stdout
    )
    found = family_of_type("eos_other")
    assert found is not None
    assert found.name == "Other"


def test_a_group_that_is_none_is_told(installed):
    installed([("design", "half", "eos_other:HALF")])
    done = CliRunner().invoke(cli.app, ["plugins"])
    assert "eos_platform.design 'half' of other-package 1.2: no such group; did you mean 'eos_platform.designs'?" in (
        done.stdout
    )


FAILING = """
from dataclasses import replace
from optuna.samplers import RandomSampler
from eos_platform.operators.designs.base import Design
from eos_platform.protocols import Example

def fails(*given):
    raise ValueError("not today")

BAD = Design("bad", "prune", "nobody", "bad", fails)

class Bad:
    name, version, groups = "bad", "1", ("one",)
    examples = score = fails

sampler = fails
no_sampler = lambda proposal: 3
no_task = lambda: 3
"""


def test_what_fails_at_work_is_one_line_too(installed):
    """A design that fails is left out where all are tried, as one that cannot be had."""
    from eos_platform.engine.schema.sections import Sampler
    from eos_platform.engine.strategy.samplers import SAMPLERS, make_sampler
    from eos_platform.operators.designs import LLAVA
    from eos_platform.tasks.choice import open_task
    from eos_platform.tasks.registry import TASKS

    for registry in (DESIGNS, SAMPLERS, TASKS):
        registry.forget()
    points = [("designs", "bad", "BAD"), ("samplers", "fails", "sampler"), ("samplers", "none", "no_sampler")]
    points += [("tasks", "bad", "Bad"), ("tasks", "none", "no_task"), ("tasks", "fails", "fails")]
    grouped = {}
    for group, name, value in points:
        grouped.setdefault(group, []).append(f"{name} = eos_other:{value}")
    installed([(group, "\n".join(lines), "") for group, lines in grouped.items()], module=FAILING)
    with pytest.raises(EosError, match="design 'bad': not today"):
        DESIGNS["bad"].build(LLAVA, 64)
    with pytest.raises(EosError, match="sampler 'fails': not today"):
        make_sampler(Sampler(name="fails"), 0, 4, {})
    with pytest.raises(EosError, match="sampler 'none': an Optuna sampler is expected, not 3"):
        make_sampler(Sampler(name="none"), 0, 4, {})
    with pytest.raises(EosError, match="task 'none': 3 lacks what a task has: name, version, groups, examples, score"):
        open_task("none")
    with pytest.raises(EosError, match="task 'fails': not today"):
        open_task("fails")


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


def test_a_sampler_that_fails_is_told_before_a_study_starts(installed, tmp_path, monkeypatch):
    from eos_platform.engine.strategy.samplers import SAMPLERS

    SAMPLERS.forget()
    installed([("samplers", "fails", "eos_other:fails")], module=FAILING)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("{name: s, model: bundled-small, sampler: fails, space: {budget: {choice: [1]}}}")
    before = sorted(tmp_path.iterdir())
    done = CliRunner().invoke(cli.app, ["study", "run", "s.yaml"])
    assert done.exit_code == 2
    assert done.stderr == "eos: sampler 'fails': not today\n"
    assert sorted(path for path in tmp_path.iterdir() if path.name != "__pycache__") == before
