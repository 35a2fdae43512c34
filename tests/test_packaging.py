"""What holds the package together: its data travels with it, imports stay light, dependencies point one way."""

import ast
import importlib
import os
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import eos_platform
from eos_platform.engine.schema import study_file
from eos_platform.models import bundled

PACKAGE = Path(eos_platform.__file__).parent

# what each part may import of the package beside itself
COMMON = {"common", "plugins", "protocols", "objectives"}
CORE = COMMON | {"operators", "models", "costs", "tasks", "search"}
MAY_IMPORT = {
    "common": set(),
    "protocols": set(),
    "objectives": {"common", "protocols"},
    "plugins": {"common"},
    "operators": COMMON,
    "models": COMMON | {"operators"},
    "costs": COMMON | {"operators", "models"},
    "tasks": COMMON | {"operators", "models", "costs"},
    "search": CORE,
    "bench": COMMON | {"operators", "models"},
    "dashboards": {"common", "objectives", "protocols"},
    "analysis": CORE,
    "tracking": CORE | {"analysis", "dashboards"},
    "lmms": CORE | {"analysis"},
    "terminal": CORE | {"tracking"},
    "dashboard_data": CORE | {"analysis", "dashboards", "tracking"},
    "engine": CORE | {"analysis", "dashboards", "tracking", "terminal"},
    "registries": CORE | {"engine"},
}
FOR_GPU = {"diverse_topk_kernel"}  # needs Triton, which comes with torch for GPUs only
FOR_LMMS = {"lmms_model"}  # needs lmms-eval, which is an extra
FREE = {"__init__", "__main__", "cli"}  # the top may use everything


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


def test_the_core_imports_without_the_platform_around_it():
    """Somebody who attaches an operator to a model waits for neither Ray nor MLflow."""
    core = (CORE | {"bench"}) - COMMON
    found = [module for module, _ in sources() if module[1] in core and module[-1] not in FOR_GPU]
    modules = sorted(".".join(module).removesuffix(".__init__") for module in found)
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        "print(*{name.split('.')[0] for name in sys.modules} & {'ray', 'optuna', 'mlflow', 'plotly', 'pandas'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_every_module_imports(part):
    for module, _ in sources():
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
    (command,) = [entry for entry in metadata.distribution("eos-platform").entry_points if entry.name == "eos"]
    assert callable(command.load())
