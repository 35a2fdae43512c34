"""What is mutated, and which tests may kill it. The one place to change when code or tests move.

Paths are relative to the repository; a folder stands for the Python files below it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# package: (what is mutated, what is left out)
PACKAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "operators": (
        ("eos_platform/operators",),
        ("eos_platform/operators/selectors/diverse_topk_kernel.py",),  # Triton: runs on GPUs alone
    ),
    "models": (
        ("eos_platform/models", "eos_platform/costs"),
        # builders of test models and the checks themselves; what runs with a user's model is the rest
        ("eos_platform/models/bundled", "eos_platform/models/conformance"),
    ),
    "search": (("eos_platform/search",), ()),
    "engine": (  # the strategy of a study: pure computations; what talks to Ray and databases has tests/faults
        (
            "eos_platform/engine/strategy",
            *(f"eos_platform/engine/schema/{name}.py" for name in ("conditions", "dimension", "space")),
        ),
        (),
    ),
    "analysis": (
        ("eos_platform/analysis",),
        ("eos_platform/analysis/comparison/__main__.py",),  # run by the tests in a process of its own
    ),
}

# package: tests that are measured when something of it is mutated; each may kill mutants of any package
TESTS: dict[str, tuple[str, ...]] = {
    "operators": ("tests/operators",),
    "models": ("tests/models", "tests/costs"),
    "search": ("tests/search",),
    "engine": ("tests/engine/strategy", "tests/engine/schema"),
    "analysis": ("tests/analysis",),
}

# tests that ask for one of these fixtures take long, and work in processes that no mutant reaches
LEFT_OUT_FIXTURES = {"ray_local"}

# functions that only a GPU runs; what they compute is compared with the CPU's by tests that need one
NEEDS_GPU = {"Stepper._capture", "_causal", "_in_graph"}


def python_files(path: str) -> Iterator[Path]:
    """The files that ``path`` stands for, sorted."""
    full = ROOT / path
    if not full.exists():
        raise SystemExit(f"tests/mutation/targets.py: {path} does not exist")
    yield from sorted(full.rglob("*.py")) if full.is_dir() else [full]


def sources(package: str) -> list[Path]:
    """The files of a package that are mutated."""
    chosen, left_out = PACKAGES[package]
    without = {file for path in left_out for file in python_files(path)}
    return [file for path in chosen for file in python_files(path) if file not in without]


def test_files(packages: Collection[str]) -> list[str]:
    """The test files of these packages, relative to the repository; those not written yet are passed over."""
    paths = [path for package in TESTS if package in packages for path in TESTS[package]]
    found = [file for path in paths if (ROOT / path).exists() for file in python_files(path)]
    return [str(file.relative_to(ROOT)) for file in found if file.name.startswith("test_")]
