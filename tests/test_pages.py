"""Pages for people name what exists: links, files, modules, entry points, floors; forms that GitHub reads are valid."""

import ast
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from eos_platform import registries

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "eos_platform"
ARCHITECTURE = PACKAGE / "README.md"
FOLDERS = (".github", "eos_platform", "studies", "dashboards", "docker", "tests")
PAGES = sorted([ROOT / "README.md", *chain.from_iterable((ROOT / name).rglob("*.md") for name in FOLDERS)])
# these name files as their readers would: from the page, from the package or from the top
NAMING = [ARCHITECTURE, PACKAGE / "models/adapters/README.md", *sorted((ROOT / ".github").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
FILE = re.compile(r"(?<![\w/.<-])(\.?\w[\w./-]*/(?:\w[\w.-]*\.(?:py|md|ini|toml|yaml|cff))?)(?![\w/*])")
MODULE = re.compile(r"(?<![\w./-])((?:eos_platform|tests)(?:\.\w+)+)")
DRAWN = re.compile(r"^((?:\w+(?:/|\.py)\s+)+)", re.MULTILINE)
ASIDE = {"terminal"}  # engine/ and cli/ print through it


def named_files(text: str) -> list[str]:
    """Paths in backticks, which hold a slash."""
    return [name for code in re.findall(r"`([^`\n]+)`", text) for name in FILE.findall(code)]


def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_module(dotted: str) -> bool:
    """Whether a dotted name is a module here, or something that one of them holds."""
    parts = dotted.split(".")
    path = ROOT.joinpath(*parts)
    if path.with_suffix(".py").is_file() or path.is_dir():
        return True
    home = ROOT.joinpath(*parts[:-1])
    file = home.with_suffix(".py") if home.with_suffix(".py").is_file() else home / "__init__.py"
    return file.is_file() and re.search(rf"\b{parts[-1]}\b", file.read_text("utf-8")) is not None


def test_names_are_seen_and_missing_ones_told():
    assert named_files("see `tasks/scenes.py`, `tests/mutation/`, `--x` and tasks/no.py") == [
        "tasks/scenes.py",
        "tests/mutation/",
    ]
    assert is_module("eos_platform.plugins.Registry")
    assert not is_module("eos_platform.no_such_module")
    assert not is_module("eos_platform.plugins.no_such_name")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target, anchor in LINK.findall(text):
        if not target.startswith(("http:", "https:", "mailto:")):
            found = page.parent / target if target else page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", NAMING, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    for name in named_files(page.read_text("utf-8")):
        assert any((place / name).exists() for place in (page.parent, PACKAGE, ROOT)), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_exist(page):
    groups = {registry.group for registry in registries.registries()} | {"eos_platform.tasks", "eos_platform.costs"}
    for name in MODULE.findall(page.read_text("utf-8")):
        assert name in groups or is_module(name), name


def test_every_extension_point_is_documented():
    text = ARCHITECTURE.read_text("utf-8")
    for registry in registries.registries():
        assert f"`{registry.group}`" in text


def test_floors_are_as_drawn():
    drawing = ARCHITECTURE.read_text("utf-8").split("```")[1]
    floors = [re.findall(r"(\w+)(?:/|\.py)", line) for line in DRAWN.findall(drawing)]
    floor = {name: -number for number, names in enumerate(floors) for name in names}
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms - ASIDE <= set(floor)
    up = []
    for room in rooms - ASIDE:
        for file in (PACKAGE / room).resolve().rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eos_platform."):
                    other = str(node.module).split(".")[1]
                    if floor.get(other, min(floor.values())) > floor[room]:
                        up.append(f"{file.name} of {room}/ imports {node.module}")
    assert not up


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/feature.yml"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("vendor.citation-file-format", ".github/CITATION.cff"),
    ],
)
def test_forms_are_valid(schema, file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout


def test_the_hooks_of_pre_commit_are_valid_and_local():
    file = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"repo: (\S+)", file.read_text("utf-8")) == ["local"]
