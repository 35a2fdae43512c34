"""What runs in a forked process: pytest on chosen tests, with a mutant in place of its file, or with coverage measured.

The mutant is put in by the import system; no file is ever changed, so runs side by side and Ctrl-C do no harm.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import resource
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mutation import targets

MEMORY = 6 * 2**30  # bytes beyond what the process has when it starts; a mutant may ask for any amount


class _MutantFinder(importlib.machinery.PathFinder):
    """Finds modules as usual, but for one file whose text is another."""

    path, source = "", ""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        spec = super().find_spec(fullname, path, target)
        if spec is not None and spec.origin and os.path.realpath(spec.origin) == cls.path:
            spec.loader = _MutantLoader(fullname, spec.origin)
            spec.cached = None
        return spec


class _MutantLoader(importlib.machinery.SourceFileLoader):
    def get_data(self, path: str) -> bytes:
        return _MutantFinder.source.encode()

    def path_stats(self, path: str) -> Any:
        raise OSError("a mutant has no bytecode on disk")


def put_in(path: Path, source: str) -> None:
    """Has ``path`` run as ``source`` in this process; its module must not be imported yet."""
    _MutantFinder.path, _MutantFinder.source = str(path.resolve()), source
    sys.meta_path.insert(0, _MutantFinder)


class Plugin:
    """Short property tests, the time each test takes, the first that fails; coverage by test where wanted."""

    def __init__(self, coverage: Any = None) -> None:
        self.coverage = coverage
        self.context = ""
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.shared: dict[str, list[str]] = {}  # fixtures of a test that are made once for many

    def pytest_configure(self, config: pytest.Config) -> None:
        """A failure is enough: the smallest example of it is not looked for."""
        import hypothesis

        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutation", hypothesis.settings.default, phases=phases, report_multiple_bugs=False
        )
        hypothesis.settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not targets.LEFT_OUT_FIXTURES & set(getattr(item, "fixturenames", ()))]
        for item in items:
            known = getattr(item, "_fixtureinfo", None)
            definitions = (found[-1] for found in known.name2fixturedefs.values()) if known else ()
            self.shared[item.nodeid] = [_called(each) for each in definitions if each.scope != "function"]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed[report.nodeid] = str(report.longrepr).strip().splitlines()[-1][:200]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = str(report.longrepr).strip().splitlines()[-1][:200]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        with self._context(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        with self._context(self.context if fixturedef.scope == "function" else _called(fixturedef)):
            return (yield)

    @contextmanager
    def _context(self, name: str) -> Iterator[None]:
        before, self.context = self.context, name
        if self.coverage:
            self.coverage.switch_context(name)
        yield
        self.context = before
        if self.coverage:
            self.coverage.switch_context(before)


def _called(fixturedef: Any) -> str:
    return f"fixture {fixturedef.argname} of {fixturedef.baseid}"


def run(rounds: list[list[str]], folder: Path, plugin: Plugin, stop_early: bool) -> int:
    """Runs pytest on one list of tests after the other; with ``stop_early`` until something fails.

    What it says goes to ``folder``/log, what was found to ``folder``/result.json.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
    folder.mkdir(parents=True)
    os.environ["EOS_CACHE"] = str(folder / "cache")
    os.environ["TMPDIR"] = str(folder)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    arguments = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'base'}", "--tb=short"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before pytest began, as is meant
    code = 0
    for tests in rounds:
        options = [*arguments, *(["-x"] if stop_early else [])]
        code = int(pytest.main([*options, *tests], plugins=[plugin]))
        if code == pytest.ExitCode.USAGE_ERROR:  # the mutant gave some test other parameters, and so another name
            files = dict.fromkeys(test.split("::")[0] for test in tests)
            code = int(pytest.main([*options, *files], plugins=[plugin]))
        if code and stop_early:
            break
    found = {"code": code, "seconds": plugin.seconds, "failed": plugin.failed, "shared": plugin.shared}
    (folder / "result.json").write_text(json.dumps(found))
    return code


def limit_memory() -> None:
    """A mutant that asks for all memory gets an error."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
