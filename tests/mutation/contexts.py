"""Which tests run which lines, and how long each takes; measured once, as mutants come in hundreds."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation import child, forks, targets
from tests.mutation.mutants import Mutant

FEW = 3  # test files in the first round
SECONDS = 40.0  # of tests a mutant, at most, by the time they took when measured


@dataclass
class Contexts:
    """``tests``: file -> line -> tests that run it; ``seconds``: of each test."""

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]
    failed: dict[str, str]

    def chosen(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant: all that run its statement, quick ones first, as many as fit in the time.

        Where only an import runs it, the tests that run anything of its file. Never none, where any test does.
        """
        lines = self.tests.get(str(mutant.path.relative_to(targets.ROOT)), {})
        first, last = (mutant.first, mutant.last) if mutant.first is not None else (0, 10**9)
        found = {test for line, tests in lines.items() if first <= line <= last for test in tests}
        chosen, total = [], 0.0
        for test in sorted(found - set(self.failed), key=lambda test: (self.seconds.get(test, 0.0), test)):
            total += self.seconds.get(test, 0.0)
            if chosen and total > SECONDS:
                break
            chosen.append(test)
        return chosen

    def rounds(self, tests: list[str], mutant: Mutant) -> list[list[str]]:
        """These tests in two rounds, so that most mutants die before many files are imported.

        First those of a few files: the ones named after the mutant's, then the quickest.
        """
        files: dict[str, list[str]] = defaultdict(list)
        for test in tests:
            files[test.split("::")[0]].append(test)
        seconds = {file: sum(self.seconds.get(test, 0.0) for test in own) for file, own in files.items()}
        order = sorted(files, key=lambda file: (mutant.path.stem not in Path(file).stem, seconds[file]))
        early = order[:FEW]
        while len(early) > 1 and sum(seconds[file] for file in early) > SECONDS / 4:
            early.pop()
        rounds = [[test for file in part for test in files[file]] for part in (early, order[len(early) :])]
        return [part for part in rounds if part]


def measure(files: Sequence[str], out: Path, jobs: int, trust: bool, say: Callable[[str], None]) -> Contexts:
    """Runs each of the test files once under coverage, or reads what an earlier run of the same code and tests found.

    Args:
        trust: read it though other files have changed since, as while one writes a test.
    """
    parts = {file: out / "contexts" / f"{_digest(file)}.json" for file in files}
    missing = {file: path for file, path in parts.items() if not path.exists() or not _fresh(file, path, trust)}

    def work(file: str, path: Path) -> Callable[[], int]:
        path.unlink(missing_ok=True)
        return lambda: _measured(file, path, out / "scratch" / path.stem)

    def done(file: str, code: int | None, seconds: float) -> None:
        folder = out / "scratch" / missing[file].stem
        if not missing[file].exists():
            raise SystemExit(f"{file} ended with {code}; its words are in {folder / 'log'}")
        forks.outcome(folder)
        say(f"measured {file}: {seconds:.0f} s")

    forks.run_all([(file, work(file, path), 900.0) for file, path in missing.items()], jobs, done)
    return _merged([json.loads(path.read_text()) for path in parts.values()])


def _fresh(file: str, path: Path, trust: bool) -> bool:
    found = json.loads(path.read_text())
    same = found.get("file") == _digest((targets.ROOT / file).read_text("utf-8"))
    return same and (trust or found["state"] == state(file))


def state(*test_files: str) -> str:
    """Changes with the package, with what tests share, and with these test files."""
    found = hashlib.sha256()
    helpers = (path for path in targets.ROOT.glob("tests/**/*.py") if not path.name.startswith("test_"))
    for path in sorted(
        [*targets.ROOT.glob("eos_platform/**/*.py"), *helpers, *(targets.ROOT / file for file in test_files)]
    ):
        if path.parent != Path(__file__).parent:
            found.update(path.read_bytes())
    return found.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _measured(file: str, path: Path, folder: Path) -> int:
    import coverage

    kept = targets.ROOT / "eos_platform"
    cover = coverage.Coverage(data_file=None, include=[f"{kept}/*"], config_file=False)
    plugin = child.Plugin(cover)
    cover.start()
    began = {"state": state(file), "file": _digest((targets.ROOT / file).read_text("utf-8"))}
    child.run([[file]], folder, plugin, stop_early=False)
    cover.stop()
    data: Any = cover.get_data()
    tests = {
        str(Path(name).relative_to(targets.ROOT)): {
            line: [context for context in contexts if context]
            for line, contexts in data.contexts_by_lineno(name).items()
            if any(contexts)
        }
        for name in data.measured_files()
    }
    found = {"tests": tests, "seconds": plugin.seconds, "failed": plugin.failed, "shared": plugin.shared}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**began, **found}))
    partial.rename(path)
    return 0


def _merged(parts: list[dict[str, Any]]) -> Contexts:
    tests: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    seconds, failed = {}, {}
    for part in parts:
        users = defaultdict(list)  # of what is made once for many tests
        for test, fixtures in part["shared"].items():
            for fixture in fixtures:
                users[fixture].append(test)
        for file, lines in part["tests"].items():
            for line, contexts in lines.items():
                for context in contexts:
                    tests[file][int(line)] += users[context] if context.startswith("fixture ") else [context]
        seconds |= part["seconds"]
        failed |= part["failed"]
    return Contexts(tests, seconds, failed)
