"""lmms-eval's side that can be had without lmms-eval: what goes together, what is kept, what is read back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.common.errors import EosError
from eos_platform.common.extras import needed
from eos_platform.lmms.asked import batches, cut, kept_in, request
from eos_platform.lmms.results import beside, read_results

RED, BLUE = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))


def test_keys_hold_all_that_an_answer_depends_on() -> None:
    plain = request("q", [RED], {"max_new_tokens": 8, "until": ["\n"]}, "t/test/0")
    others = [
        request("r", [RED], {"max_new_tokens": 8, "until": ["\n"]}, "t/test/0"),
        request("q", [BLUE], {"max_new_tokens": 8, "until": ["\n"]}, "t/test/0"),
        request("q", [RED, RED], {"max_new_tokens": 8, "until": ["\n"]}, "t/test/0"),
        request("q", [RED], {"max_new_tokens": 9, "until": ["\n"]}, "t/test/0"),
        request("q", [RED], {"max_new_tokens": 8, "until": []}, "t/test/0"),
        request("q", [RED], {"max_new_tokens": 8, "until": ["\n"]}, "t/test/1"),
    ]
    assert len({plain.key, *(one.key for one in others)}) == 7
    assert request("q", [RED.copy()], {"max_new_tokens": 8, "until": "\n"}, "t/test/0").key == plain.key
    assert cut("a\nb", plain.until) == "a"


@pytest.mark.parametrize("settings", [{"do_sample": True}, {"temperature": 0.7}, {"num_beams": 3}])
def test_what_is_not_greedy_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(EosError, match="writes greedily"):
        request("q", [], settings, "t")
    request("q", [], {"temperature": 0, "num_beams": 1, "do_sample": False}, "t")


def test_batches_are_of_one_kind() -> None:
    asked = [request("q", [RED] * (n % 3 > 0), {"max_new_tokens": 8 + n % 2}, str(n)) for n in range(20)]
    found = list(batches(asked, range(20), 4))
    assert sorted(number for some in found for number in some) == list(range(20))
    for some in found:
        assert len(some) <= 4
        assert len({(asked[number].most, bool(asked[number].pictures)) for number in some}) == 1


def test_answers_of_another_operator_are_not_taken(tmp_path: Path) -> None:
    first = kept_in(str(tmp_path), {"operator_hash": "a", "model_hash": "m"})
    assert first is not None
    first.add([("k", "yes", 0.0)])
    again, other = (kept_in(str(tmp_path), {"operator_hash": name, "model_hash": "m"}) for name in "ab")
    assert again is not None
    assert again.known == {"k": ("yes", 0.0)}
    assert other is not None
    assert not other.known
    assert kept_in(None, {}) is None


def results(folder: Path, task: str, rows: list[tuple[str, Any]], theirs: dict[str, float]) -> None:
    """What lmms-eval 0.7.3 leaves, as it was seen."""
    place = folder / "model"
    place.mkdir(parents=True, exist_ok=True)
    (place / "20260101_000000_results.json").write_text(
        json.dumps({"results": {task: {"alias": task, **theirs, "x_stderr,none": float("nan")}}, "config": {}})
    )
    lines = [
        json.dumps({"doc_id": number, "target": gold, "resps": [[text]], "filtered_resps": [text], "doc_hash": "same"})
        for number, (text, gold) in enumerate(rows)
    ]
    (place / f"20260101_000000_samples_{task}.jsonl").write_text("\n".join(lines) + "\n")


def test_official_scores_beside_theirs(tmp_path: Path) -> None:
    """Sentences: lmms-eval compares them with the bare word, POPE itself looks for no among the words."""
    rows = [("Yes, there is.", "yes"), ("No.", "no"), ("There is not.", "no"), ("yes", "no")]
    results(tmp_path, "pope", rows, {"pope_accuracy,none": 0.0})
    (found,) = read_results(tmp_path)
    assert found.theirs == {"pope_accuracy,none": 0.0}
    assert found.official["accuracy"] == 0.75
    assert found.official["yes_ratio"] == 0.5
    assert found.official["f1"] == pytest.approx(2 / 3)
    assert found.answers[2] == "There is not."


@pytest.mark.parametrize(
    ("task", "rows", "accuracy"),
    [
        ("gqa", [("Dog.", "dog"), ("a dog", "dog")], 0.5),
        ("chartqa", [("2011", "2010"), ("0.0", "0")], 0.5),
        ("docvqa_val", [("abcd", ["abxy", "q"]), ("z", ["abxy"])], 0.25),
        ("ocrbench", [("It says Centre", ["CENTRE"]), ("x", ["y"])], 0.5),
        ("my_own_task", [("a", "a")], None),
    ],
)
def test_tasks_by_name(tmp_path: Path, task: str, rows: list[tuple[str, Any]], accuracy: float | None) -> None:
    results(tmp_path, task, rows, {"m,none": 0.5})
    (found,) = read_results(tmp_path)
    assert found.official.get("accuracy") == accuracy


def test_a_run_is_set_beside_the_unreduced_models(tmp_path: Path) -> None:
    results(
        tmp_path / "none", "gqa", [("dog", "dog"), ("cat", "cat"), ("x", "y")], {"m,none": 0.8, "m_stderr,none": 0.1}
    )
    results(
        tmp_path / "op", "gqa", [("dog", "dog"), ("cats", "cat"), ("x", "y")], {"m,none": 0.6, "m_stderr,none": 0.2}
    )
    (whole,), (reduced,) = read_results(tmp_path / "none"), read_results(tmp_path / "op")
    found = beside(reduced, whole)
    assert found.of_unreduced == pytest.approx({"m,none": 75, "official accuracy": 50})
    assert (found.same, found.asked) == (2, 3)


@pytest.mark.parametrize("broken", ["", "{", "[]", "null", "{}", '{"results": 1}', '{"results": {"gqa": 1}}'])
@pytest.mark.parametrize("which", ["results.json", "samples_gqa.jsonl"])
def test_damaged_results_are_one_line(tmp_path: Path, which: str, broken: str) -> None:
    results(tmp_path, "gqa", [("dog", "dog")], {"m,none": 0.5})
    (tmp_path / "model" / f"20260101_000000_{which}").write_text(broken)
    if which == "samples_gqa.jsonl" and not broken:
        assert not read_results(tmp_path)[0].answers
        return
    with pytest.raises(EosError, match=f"(results|samples) .*{which}"):
        read_results(tmp_path)


def test_a_run_that_failed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lmms-eval's exit status is 0 when it fails: only a results file of this run proves success."""
    with pytest.raises(EosError, match="left no results"):
        read_results(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lmms_eval", ModuleType("lmms_eval"))
    import subprocess

    ran: list[list[str]] = []

    def fail(words: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", fail)
    done = CliRunner().invoke(cli.app, ["lmms", "--model", "bundled-small", "--tasks", "pope"])
    assert done.exit_code == 2
    assert "lmms-eval failed (exit status 0) and left no results" in done.output
    args = ran[0][ran[0].index("--model_args") + 1]
    assert "pretrained=bundled-small,model_hash=" in args


def test_a_package_that_is_missing_is_named_with_its_command() -> None:
    with pytest.raises(EosError, match=r"eos lmms needs no_such_package, which is not installed: pip install 'eos-"):
        needed("no_such_package.part", "lmms", "eos lmms")
