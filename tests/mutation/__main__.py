"""Mutation testing: ``python -m tests.mutation --mutants 200 --seed 0 --jobs 2``; more in README.md beside this."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutation import child, contexts, forks, targets
from tests.mutation.mutants import Mutant, mutants

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
FATES = ("killed", "survived", "equivalent")


def main() -> None:
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: what was started ends too
    out, began = Path(options.out).resolve(), time.monotonic()
    (out / "scratch").mkdir(parents=True, exist_ok=True)
    chosen = _chosen(options)
    print(f"{len(chosen)} mutants; results in {out}", flush=True)
    forks.warm(_modules(), out / "scratch")
    files = targets.test_files({mutant.package for mutant in chosen})
    found = contexts.measure(files, out, options.jobs, options.again == "survivors", _say)
    if found.failed:
        print("fail without any mutant, and are left out:", *sorted(found.failed), sep="\n  ")
    results = Results(out / "results.jsonl", options.again, files)
    _run(chosen, found, results, out, options.jobs)
    _controls(chosen[: options.controls], found, results, out, options.jobs)
    _report(chosen, results, out, time.monotonic() - began)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--mutants", type=int, default=200, help="how many, drawn at random (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--only", default="", help="a regular expression on 'package path:function'")
    parser.add_argument("--packages", nargs="*", default=list(targets.PACKAGES), help="of those drawn, only these")
    parser.add_argument("--out", default=".mutation", help="folder for results; the same again goes on where it was")
    parser.add_argument("--again", choices=("changed", "survivors"), default="changed")
    parser.add_argument("--controls", type=int, default=10, help="runs without a mutant, which must pass")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    """The first by a hash of seed and key: nearly the same mutants after code has moved."""
    every = (
        mutant
        for package in targets.PACKAGES
        for path in targets.sources(package)
        for mutant in mutants(package, path)
        if mutant.where not in targets.NEEDS_GPU and re.search(options.only, _place(mutant))
    )
    drawn = sorted(every, key=lambda mutant: _digest(f"{options.seed} {mutant.key}"))[: options.mutants]
    return [mutant for mutant in drawn if mutant.package in options.packages]


class Results:
    """One JSON line a mutant, added as it is done; the last for a mutant counts.

    What was found with other code or tests is found again; with ``again="survivors"`` what was killed stays so.
    """

    def __init__(self, file: Path, again: str, tests: list[str]) -> None:
        self.file, self.again, self.state = file, again, contexts.state(*tests)
        lines = file.read_text().splitlines() if file.exists() else []
        self.known = {entry["key"]: entry for entry in map(json.loads, lines)}

    def fate(self, mutant: Mutant) -> dict[str, Any] | None:
        entry = self.known.get(mutant.key)
        if entry is None or entry["source"] != _digest(mutant.source):
            return None
        stays = entry["state"] == self.state or (self.again == "survivors" and entry["fate"] == "killed")
        return entry if stays else None

    def add(self, mutant: Mutant, fate: str, by: str, seconds: float, tests: int) -> None:
        entry = {
            "key": mutant.key,
            "package": mutant.package,
            "place": _place(mutant),
            "line": mutant.line,
            "before": mutant.before,
            "after": mutant.after,
            "fate": fate,
            "by": by,
            "seconds": round(seconds, 1),
            "tests": tests,
            "source": _digest(mutant.source),
            "state": self.state,
        }
        self.known[mutant.key] = entry
        with self.file.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _run(chosen: list[Mutant], found: contexts.Contexts, results: Results, out: Path, jobs: int) -> None:
    by_key = {mutant.key: mutant for mutant in chosen}
    tests = {key: found.chosen(mutant) for key, mutant in by_key.items()}

    def done(key: str, code: int | None, seconds: float) -> None:
        folder = out / "scratch" / key
        reported = forks.outcome(folder) or {}
        if code == 0:
            fate, by = "survived", ""
        elif code is None:
            fate, by = "killed", "time ran out"
        elif code in (1, 2) or reported.get("failed"):
            fate, by = (
                "killed",
                next(iter(f"{name}: {why}" for name, why in reported.get("failed", {}).items()), "import"),
            )
        elif code < 0:
            fate, by = "killed", f"the process ended with signal {-code}"
        else:  # nothing was learned: not counted as a kill
            fate, by = "survived", f"the run failed, with {code}: {folder / 'log'}"
        results.add(by_key[key], fate, by, seconds, len(tests[key]))
        _tell(results.known[key])

    def work() -> Iterator[tuple[str, Callable[[], int], float]]:
        for key, mutant in by_key.items():
            if results.fate(mutant):
                continue
            if not tests[key]:
                results.add(mutant, "survived", "", 0.0, 0)
                _tell(results.known[key])
                continue
            allowed = 30.0 + 5 * sum(found.seconds.get(test, 0.0) for test in tests[key])
            rounds = found.rounds(tests[key], mutant)
            yield key, partial(_tried, mutant, rounds, out / "scratch"), allowed

    forks.run_all(work(), jobs, done)


def _tried(mutant: Mutant, rounds: list[list[str]], scratch: Path) -> int:
    child.limit_memory()
    child.put_in(mutant.path, mutant.source)
    return child.run(rounds, scratch / mutant.key, child.Plugin(), stop_early=True)


def _controls(chosen: list[Mutant], found: contexts.Contexts, results: Results, out: Path, jobs: int) -> None:
    """The same tests in the same way with the text unchanged: what fails there would be counted as a kill wrongly."""
    failed = []

    def done(key: str, code: int | None, seconds: float) -> None:
        forks.outcome(out / "scratch" / key)
        if code != 0:
            failed.append(key)

    killed = [mutant for mutant in chosen if results.known[mutant.key]["fate"] == "killed" and found.chosen(mutant)]
    work = []
    for mutant in killed:
        tests = found.chosen(mutant)
        same = Mutant(**{**vars(mutant), "source": mutant.path.read_text("utf-8"), "copy": -1})
        allowed = 60.0 + 10 * sum(found.seconds.get(test, 0.0) for test in tests)
        work.append((same.key, partial(_tried, same, found.rounds(tests, mutant), out / "scratch"), allowed))
    forks.run_all(work, jobs, done)
    print(f"controls without a mutant: {len(killed) - len(failed)} of {len(killed)} pass", *failed)


def _report(chosen: list[Mutant], results: Results, out: Path, seconds: float) -> None:
    reasons = _equivalent()
    count = {package: dict.fromkeys(FATES, 0) for package in [*targets.PACKAGES, "all"]}
    survivors = []
    for mutant in chosen:
        fate = results.known[mutant.key]["fate"]
        if fate == "survived" and _identity(mutant) in reasons:
            fate = "equivalent"
        if fate == "survived":
            survivors.append(mutant)
        for row in (mutant.package, "all"):
            count[row][fate] += 1
    print("\n| package | mutants | killed | survived | equivalent | killed of those not equivalent |")
    print("|---|---|---|---|---|---|")
    for package, row in count.items():
        real = row["killed"] + row["survived"]
        share = f"{100 * row['killed'] / real:.1f} %" if real else "-"
        print(f"| {package} | {sum(row.values())} | {' | '.join(str(row[fate]) for fate in FATES)} | {share} |")
    print(f"\n{seconds:.0f} s")
    for mutant in survivors:
        print(f"\nsurvived: {_place(mutant)}, line {mutant.line}\n  - {mutant.before}\n  + {mutant.after}")


def _equivalent() -> set[tuple[str, str, str]]:
    entries = tomllib.loads(EQUIVALENT.read_text("utf-8")).get("mutant", [])
    return {(entry["where"], entry["before"], entry["after"]) for entry in entries if entry["reason"]}


def _identity(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.where, mutant.before, mutant.after


def _place(mutant: Mutant) -> str:
    return f"{mutant.package} {mutant.path.relative_to(targets.ROOT)}:{mutant.where}"


def _tell(entry: dict[str, Any]) -> None:
    by = f" ({entry['by'][:150]})" if entry["by"] else ""
    print(f"{entry['fate']} in {entry['seconds']} s by {entry['tests']} tests: {entry['place']}{by}", flush=True)


def _modules() -> list[str]:
    names = []
    for package in targets.PACKAGES:
        for path in targets.sources(package):
            parts = path.relative_to(targets.ROOT).with_suffix("").parts
            if parts[-1] != "__main__":
                names.append(".".join(parts).removesuffix(".__init__"))
    return [*names, "hypothesis", "hypothesis.strategies", "pytest", "coverage"]


def _say(text: str) -> None:
    print(text, flush=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
