"""What holds the package together: its data travels with it, imports stay light, dependencies point one way."""

import ast
import importlib
import os
import subprocess
import sys
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import pytest

import eos_platform
from eos_platform.engine.schema import study_file
from eos_platform.models import bundled

PACKAGE = Path(eos_platform.__file__).parent

# what each part may import of the package beside itself
COMMON = {"common", "plugins", "protocols", "objectives"}
CORE = COMMON | {"operators", "models", "costs", "task_names", "tasks", "search"}
MAY_IMPORT = {
    "common": set(),
    "protocols": set(),
    "objectives": {"common", "protocols"},
    "plugins": {"common"},
    "operators": COMMON,
    "models": COMMON | {"operators"},
    "costs": COMMON | {"operators", "models"},
    "task_names": COMMON | {"models"},
    "tasks": COMMON | {"operators", "models", "costs", "task_names"},
    "search": CORE,
    "bench": COMMON | {"operators", "models", "costs"},
    "serve": CORE | {"analysis"},
    "dashboards": {"common", "objectives", "protocols"},
    "analysis": CORE | {"bench"},
    "tracking": CORE | {"analysis", "dashboards"},
    "lmms": CORE | {"analysis"},
    "terminal": CORE | {"tracking"},
    "dashboard_data": CORE | {"analysis", "dashboards", "tracking"},
    "engine": CORE | {"analysis", "dashboards", "tracking", "terminal"},
    "api": CORE | {"analysis", "dashboards", "dashboard_data", "terminal"},
    "benchmark": CORE | {"analysis", "bench", "engine"},
    "registries": CORE | {"engine"},
}
FOR_GPU = {"diverse_topk_kernel"}  # needs Triton, which comes with torch for GPUs only
FOR_LMMS = {"lmms_model"}  # needs lmms-eval, which is an extra
# of serve/vllm: need vLLM, which has an environment of its own
FOR_VLLM = {"anyres", "idefics", "internvl", "llava", "one_axis", "qwen", "spare", "served"}
FREE = {"__init__", "__main__", "cli"}  # the top may use everything
MOST = 15  # modules in a folder, beside its __init__


def sources():
    """(module, text) of every Python file; ``Path.rglob`` would stop at the links in a checkout."""
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py"):
                path = Path(folder, file)
                yield ("eos_platform", *path.relative_to(PACKAGE).with_suffix("").parts), path.read_text("utf-8")


def imports_of(text, package):
    """Dotted names imported anywhere in ``text``, inside functions too, relative ones spelt out."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_imports_are_seen_in_every_form():
    text = "import a.b\nfrom c import d\ndef f():\n    from ..x import y\n    from . import z\n"
    assert list(imports_of(text, ("p", "q"))) == ["a.b", "c.d", "p.x.y", "p.q.z"]


def test_dependencies_point_one_way():
    wrong, parts = [], set()
    for module, text in sources():
        part = module[1]
        parts.add(part)
        if part in FREE:
            continue
        for imported in imports_of(text, module[:-1]):
            top, *rest = imported.split(".")
            if top == "eos_platform" and rest and rest[0] not in MAY_IMPORT.get(part, set()) | {part}:
                wrong.append(f"{'.'.join(module)} imports {imported}")
    assert not wrong
    assert parts - FREE == set(MAY_IMPORT)


def test_the_plug_in_of_vllm_needs_operators_and_models_alone():
    """It is imported in environments that have neither Optuna nor Ray nor MLflow nor pandas."""
    may = {"common", "operators", "models", "serve"}
    plug_in = {".".join(module): imports_of(text, module[:-1]) for module, text in sources() if "vllm" in module}
    assert plug_in
    others = {"optuna", "ray", "mlflow", "pandas", "plotly"}
    for name, imported in plug_in.items():
        tops = [one.split(".") for one in imported]
        assert not {top[0] for top in tops} & others, name
        assert {top[1] for top in tops if top[0] == "eos_platform"} <= may, name


@cache
def modules():
    """Every module by its dotted name, with the modules of the package that it imports, inside functions too."""
    named = {".".join(module).removesuffix(".__init__"): (module, text) for module, text in sources()}
    found = {}
    for name, (module, text) in named.items():
        # "a.b.c" is a module, or c something of the module a.b
        candidates = ((one, one.rpartition(".")[0]) for one in imports_of(text, module[:-1]))
        homes = (next((one for one in pair if one in named), None) for pair in candidates)
        found[name] = {home for home in homes if home not in (None, name)}
    return found


def circles(arrows):
    """Members of circles: what is left when whoever is imported by none, or imports none, is taken away, again and
    again."""
    left = {name: set(others) for name, others in arrows.items()}
    while True:
        used = set().union(*left.values()) if left else set()
        ends = {name for name, others in left.items() if not others & left.keys() or name not in used}
        if not ends:
            return left
        left = {name: others - ends for name, others in left.items() if name not in ends}


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"c"}, "e": set()}) == {"b": {"c"}, "c": {"b"}}
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {}


def test_no_modules_import_each_other_in_a_circle():
    """Nowhere: not inside functions, and not for types alone."""
    assert not circles(modules())


def test_floors_have_no_circle_and_no_way_up():
    """The table above orders its parts, and nothing below the command imports the package's face, which has it all."""
    assert not circles({part: others - {part} for part, others in MAY_IMPORT.items()})
    face = {name for name, imported in modules().items() if "eos_platform" in imported}
    assert {name.split(".")[1] for name in face} <= FREE


def test_parts_of_the_analysis_point_one_way():
    within = {}
    for name, imported in modules().items():
        top, _, rest = name.partition("eos_platform.analysis.")
        if not top and rest:
            part = rest.split(".")[0]
            inner = {one.split(".")[2] for one in imported if one.startswith("eos_platform.analysis.")}
            within[part] = within.get(part, set()) | inner - {part}
    assert set(within) == {
        "baselines",
        "benchmark",
        "comparison",
        "experiments",
        "explain",
        "ranking",
        "stats",
        "transfer",
    }
    assert not circles(within)


def test_no_folder_has_more_modules_than_can_be_looked_over():
    folders = {}
    for module, _ in sources():
        if module[-1] != "__init__":
            folders.setdefault(".".join(module[1:-1]), []).append(module[-1])
    many = {folder: len(files) for folder, files in folders.items() if len(files) > MOST}
    assert not many


def test_the_core_imports_without_the_platform_around_it():
    """Somebody who attaches an operator to a model waits for neither Ray nor MLflow, nor for a compiler."""
    core = (CORE | {"api", "bench"}) - COMMON
    found = [module for module, _ in sources() if module[1] in core and module[-1] not in FOR_GPU]
    modules = sorted(".".join(module).removesuffix(".__init__") for module in found)
    code = (
        "import importlib, sys, eos_platform.models.runtime.attach, eos_platform.search.run\n"
        "print('torch._dynamo' in sys.modules)\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "print(*{name.split('.')[0] for name in sys.modules} & {'ray', 'optuna', 'mlflow', 'plotly', 'pandas'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["False", "", ""]


def test_help_waits_for_no_library_but_those_that_print_it():
    code = "import eos_platform.cli, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert "typer" in done.stdout.split()
    heavy = {"torch", "transformers", "numpy", "pandas", "pydantic", "yaml", "ray", "optuna", "mlflow", "plotly"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_every_module_imports(part):
    for module, _ in sources():
        if module[1:3] == ("serve", "vllm") and module[-1] in FOR_VLLM:
            continue
        if module[1] == part and module[-1] not in {"__main__", *FOR_GPU, *FOR_LMMS}:
            importlib.import_module(".".join(module).removesuffix(".__init__"))


def test_studies_travel_inside_the_package_and_are_valid():
    files = [entry for entry in resources.files("eos_platform").joinpath("studies").iterdir() if entry.is_file()]
    names = {entry.name for entry in files}
    assert "quickstart.yaml" in names
    assert set(study_file.packaged()) == {name.removesuffix(".yaml") for name in names if name.endswith(".yaml")}
    for path in study_file.packaged().values():
        assert study_file.load(path).name


def test_bundled_models_travel_inside_the_package():
    home = resources.files("eos_platform.models.bundled")
    for name in bundled.MODELS:
        files = {entry.name for entry in home.joinpath(name).iterdir()}
        assert "config.json" in files
        assert files & {"model.safetensors", "model.int8.safetensors"}


def test_types_are_declared_and_the_command_is_installed():
    assert resources.files("eos_platform").joinpath("py.typed").is_file()
    (command,) = [
        entry for entry in metadata.distribution("eos-platform").entry_points if entry.group == "console_scripts"
    ]
    assert callable(command.load())
