"""The table of searches that a server can serve, beside free ones."""

import json

from eos_platform.operators.spec import OperatorSpec
from eos_platform.serve.plan import ServingPlan, Verdict
from eos_platform.serve.servable import KINDS, NAMED, cells, config_of, main, table

SETTINGS = ("steps=4", "batch_size=8", "search_questions=32", "eval_questions=16")
SHORT = ["--device", "cpu", "--threads", "1", *(word for setting in SETTINGS for word in ("--set", setting))]


def row(kind: str, heldout: float, seed: int = 0, **more: object) -> dict[str, object]:
    searched = {} if kind == "unreduced" else {"served": "exact", "seconds": 4.0}
    return {"model": "m", "kind": kind, "ratio": 0.05 if searched else 1.0, "seed": seed, "heldout": heldout,
            **searched, **more}  # fmt: skip


def test_every_kind_is_a_search_and_servable_ones_say_so() -> None:
    found = cells(["a", "b"], list(KINDS), [0.2, 0.1], 3)
    assert len(found) == 2 * (1 + len(KINDS) * 2 * 3)
    settings = {kind: config_of(("a", kind, 0.1, 0), {"steps": 8}) for kind in KINDS | NAMED}
    assert {kind for kind, config in settings.items() if config.servable is None} == {"free", "single"}
    assert settings["steered"].steering_rank == settings["free"].steering_rank > 0
    assert settings["unsteered"].steering_rank == 0
    assert (settings["unsteered"].steps, settings["unsteered-long"].steps) == (8, 24)


def test_a_line_says_how_far_behind_a_free_search_and_whether_that_is_allowed() -> None:
    found = table([row("unreduced", 0.99), row("free", 0.98), row("free", 0.97, 1, served="approximate"),
                   row("steered", 0.972), row("unsteered", 0.95), row("unsteered-long", 0.96)])  # fmt: skip
    lines = [line.split() for line in found.splitlines()[1:]]
    assert lines[0] == ["m", "1", "unreduced", "1", "99.00"]
    assert lines[1] == ["m", "0.05", "free", "2", "97.50", "97.0", "0.00", "1", "of", "2", "4"]
    assert lines[2][4:] == ["97.20", "97.2", "0.30", "1", "of", "1", "4", "0.5:", "held"]
    assert lines[3][-2:] == ["2:", "missed"]
    assert lines[4][-2:] == ["2:", "held"]


def test_a_table_for_a_page_is_made_of_files(tmp_path, capsys) -> None:
    rows = [row("unreduced", 0.99), row("free", 0.98), row("free", 0.97, 1), row("unsteered", 0.95)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert main(["--table", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| model (unreduced) | ratio | free | unsteered |"
    assert lines[2] == "| m (99.0) | 0.05 | 97.5 | 95.0 (+2.5) |"
    assert main(["--table", str(tmp_path / "none.jsonl")]) == 2


def test_a_servable_search_is_written_down_once_with_its_operator(tmp_path, capsys) -> None:
    out = tmp_path / "s.jsonl"
    words = ["--models", "bundled-small", "--kinds", "steered", "--seeds", "1", "--ratios", ".3", *SHORT]
    words += ["--questions", "24", "--out", str(out)]
    assert main(words) == 0
    whole, found = (json.loads(line) for line in out.read_text().splitlines())
    assert whole["heldout"] > 0.8
    assert (found["served"], found["compute_ratio"] <= 0.3) == ("exact", True)
    operator = OperatorSpec.load(tmp_path / "s" / "bundled-small-steered-0.3-0.json")
    assert ServingPlan.of(operator).verdict is Verdict.EXACT
    assert operator.sites[0].steering is not None
    assert main(words) == 0
    assert len(out.read_text().splitlines()) == 2  # the second time, nothing was left to do
    assert main([*words, "--set", "seed=1", "--seconds", "-1"]) == 0  # other settings are another table
    assert "1 of 1" in capsys.readouterr().out
    assert main(["--kinds", "stered", "--out", str(out)]) == 2
    assert "did you mean 'steered'" in capsys.readouterr().err
