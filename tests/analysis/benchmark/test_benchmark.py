"""Benchmarks with operators and without: answers kept and gone on with, tables as worked out by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[2] / "tasks/benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tasks"))
from layouts import OFFICIAL

from eos_platform.analysis.benchmark import run as module
from eos_platform.analysis.benchmark.run import UNREDUCED, Asked
from eos_platform.analysis.benchmark.store import Answers, model_hash
from eos_platform.analysis.benchmark.table import rows_of
from eos_platform.cli import app as cli
from eos_platform.cli.public.benchmark import numbers_beside
from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.answers.generate import answers
from eos_platform.tasks.choice import open_task
from eos_platform.tasks.files import Files
from eos_platform.tasks.on_task import OnTask


def eos(*words: object) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "160"})


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions of ``scenes`` as files, all held out."""
    root = tmp_path_factory.mktemp("local")
    encoded = load_workload("bundled-small", device="cpu").encoded("heldout", 24)
    rows = []
    for number in range(24):
        one = encoded.example(number)
        one.opened().save(root / f"{one.key}.png")
        row = {"id": f"q{number}", "image": f"{one.key}.png", "question": one.question, "answer": one.answer}
        rows.append(json.dumps({**row, "split": "heldout"}))
    (root / "local.jsonl").write_text("\n".join(rows) + "\n")
    return root


def operator(root: Path, keep: int = 10) -> Path:
    target = load_workload("bundled-small", device="cpu").target
    site = SiteSpec.model_validate({"layer": 0, "keep": keep, "score": {"norm": 1.0}})
    return OperatorSpec(target=target, sites=(site,)).save(root / f"keep-{keep}.json")


def test_what_generate_writes_is_scored_as_teacher_forcing_scores_it(local: Path) -> None:
    """The same questions, three ways: encoded and teacher-forced, one by one, in padded batches."""
    small = load_workload("bundled-small", device="cpu")
    task = Files(local / "local.jsonl")
    questions = task.examples("heldout", 24)
    for one in (None, OperatorSpec.load(operator(local))):
        forced = evaluate(OnTask(small.model, small.processor, task), one, "heldout", 24).scores
        for batch in (1, 7):
            said = [
                pair for some in answers(small.model, small.processor, questions, one, batch=batch) for pair in some
            ]
            assert [task.score(text, example) for example, text in said] == forced.tolist()
        assert 0 < forced.mean() < 1 or one is None


def test_a_run_goes_on_where_it_stopped(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    OFFICIAL["pope"](tmp_path / "pope")
    command = ("benchmark", "--model", "bundled-small", "--operator", operator(tmp_path), "--tasks", "pope", "--root",
               tmp_path, "--data", local / "local.jsonl", "--batch", 8)  # fmt: skip
    done = eos(*command)
    assert done.exit_code == 0, done.output
    assert "mean over tasks" in done.output
    kept = tmp_path / "eos-benchmark/files.keep-10.jsonl"
    before = kept.read_text()
    table = (tmp_path / "eos-benchmark/table.csv").read_text()
    lines = before.splitlines(keepends=True)
    kept.write_text("".join(lines[:9]) + lines[9][:20])  # killed while it wrote
    asked: list[int] = []
    real = module.answers

    def counted(model: Any, processor: Any, questions: Any, *rest: Any, **more: Any) -> Any:
        asked.append(len(questions))
        return real(model, processor, questions, *rest, **more)

    monkeypatch.setattr(module, "answers", counted)
    assert eos(*command).exit_code == 0
    assert asked == [0, 0, 0, 24 - 9]
    assert kept.read_text() == before
    assert (tmp_path / "eos-benchmark/table.csv").read_text() == table
    operator(tmp_path, 12).rename(tmp_path / "keep-10.json")  # another operator under the same name
    done = eos(*command)
    assert done.exit_code == 2
    assert "holds answers of another operator" in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to ask"),
        (["--tasks", "pop"], "unknown task 'pop'; did you mean 'pope'"),
        (["--tasks", "pope"], "task 'pope' needs its download: --root DIR"),
        (["--tasks", "pope", "--root", "none"], "no folder: none should hold"),
        (["--data", "none.jsonl"], "questions file not found"),
        (["--operator", "none.json", "--data", "x"], "operator file not found"),
    ],
)
def test_what_is_wrong_is_told_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = eos("benchmark", "--model", "bundled-small", *words)
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "eos-benchmark").exists()


def test_tables_by_hand(tmp_path: Path) -> None:
    """POPE: F1 of each category by hand; an operator that answers as the unreduced model has 100 % and no width."""
    OFFICIAL["pope"](tmp_path)
    task = open_task({"name": "pope", "root": str(tmp_path)})
    questions = tuple(task.all)  # type: ignore[attr-defined]
    first = (1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0)
    scores = {UNREDUCED: (1.0,) * 12, "same": (1.0,) * 12, "worse": first}
    rows = {row["operator"]: row for row in rows_of(Asked(task, questions, scores, {}))}
    assert [rows["same"][key] for key in ("of_unreduced", "of_low", "of_high")] == pytest.approx([100] * 3)
    assert rows["worse"]["value"] == pytest.approx(100 * (1 / 2 + 1 + 2 / 3) / 3)
    assert rows["worse"]["low"] < rows["worse"]["value"] < rows["worse"]["high"]


def test_what_the_table_does_not_show_is_told_beside_it() -> None:
    shares = {"accuracy": 0.5, "precision": 0.75, "recall": 0.6, "f1": 2 / 3, "yes_ratio": 0.4}
    assert numbers_beside(shares) == "precision 75.0 %, recall 60.0 %, F1 66.7 %, said yes to 40.0 %"
    assert numbers_beside({"accuracy": 0.5, "rows": 0.9}) == "single rows 90.0 %"
    assert not numbers_beside({"accuracy": 0.5})
    assert not numbers_beside({"f1": 0.5, "accuracy": 0.5, "precision": 1.0})  # the table's own number


def test_intervals_are_those_of_many_samples(tmp_path: Path) -> None:
    """Half of 400 right: the bootstrap's spread is that of a mean, sqrt(p q / n), 2.5 points."""
    OFFICIAL["gqa"](tmp_path)
    task = open_task({"name": "gqa", "root": str(tmp_path)})
    questions = tuple(task.all[:1]) * 400  # type: ignore[attr-defined]
    scores = {UNREDUCED: (1.0,) * 400, "half": (1.0, 0.0) * 200}
    _, row = rows_of(Asked(task, questions, scores, {}), samples=20_000)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * 2.5, rel=0.05)
    assert row["of_unreduced"] == 50
    thirds = tuple(np.linspace(0, 1, 400).tolist())
    _, row = rows_of(Asked(task, questions, {UNREDUCED: (1.0,) * 400, "shares": thirds}, {}), samples=2000)
    assert row["high"] - row["low"] == pytest.approx(2 * 196 * np.std(thirds) / 20, rel=0.1)


def test_hashes_and_records(tmp_path: Path) -> None:
    first = model_hash(folder("bundled-small"))
    assert first == model_hash(folder("bundled-small")) != model_hash(folder("bundled"))
    kept = Answers(tmp_path / "a.jsonl", {"model": "x"})
    kept.add([("1", "naïve \u2028 text\n", 0.5)])
    assert Answers(tmp_path / "a.jsonl", {"model": "x"}).known == {"1": ("naïve \u2028 text\n", 0.5)}
    with pytest.raises(EosError, match="another model"):
        Answers(tmp_path / "a.jsonl", {"model": "y"})


def test_answers_may_be_as_long_as_the_longest_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def answered(*given: Any, batch: int, most: int) -> tuple[()]:
        asked.append(most)
        return ()

    monkeypatch.setattr(module, "answers", answered)
    processor = SimpleNamespace(tokenizer=lambda text: SimpleNamespace(input_ids=text.split()))
    for text, own, most in (("yes", 0, 16), ("yes", 5, 5), (" ".join("a" * 20), 0, 21)):
        question = SimpleNamespace(id=f"{text}{own}", most=own, answer=text)
        kept = SimpleNamespace(known={})
        module._ask(None, processor, None, [question], None, kept, 4, "t", None)  # type: ignore[arg-type, list-item]
        assert asked[-1] == most
