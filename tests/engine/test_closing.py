"""What a study says at its end: a sentence, the champion, what to type next; and one front, named, everywhere."""

import io
import shlex

import pandas as pd
import pytest
import typer
from engine_fakes import study_file
from rich.console import Console

from eos_platform.analysis.stats.pareto import front_of
from eos_platform.cli import app as cli
from eos_platform.engine.closing import closing
from eos_platform.engine.status import Status, with_heldout
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.terminal.tables import status_table


def points(*searched, unreduced=0.95):
    """The comparison of (trial, accuracy, ratio)s."""
    lines = [("unreduced", "unreduced", None, unreduced, 1.0), ("fastv at 0.2", "hand-designed", None, 0.99, 0.1)]
    lines += [(f"trial {trial}", "searched", trial, accuracy, ratio) for trial, accuracy, ratio in searched]
    frame = pd.DataFrame(lines, columns=["name", "family", "trial", "accuracy", "compute_ratio"])
    return frame.assign(mean_tokens=144 * frame["compute_ratio"]).astype({"trial": "Int64"})


def lines(frame, tmp_path, runs="eos-runs", **changes):
    return list(closing(run_dir_of(study_file(**changes), tmp_path / runs if runs != "eos-runs" else runs), frame))


FOUND = points((0, 0.80, 0.15), (1, 0.945, 0.29), (2, 0.949, 0.45), (3, 0.70, 0.2))


def test_a_sentence_says_what_was_found(tmp_path):
    said = lines(FOUND, tmp_path)
    assert said[1] == (
        "tiny found a front of 3 operators (held-out questions); its champion, trial 1, keeps 94.5 of the unreduced"
        " model's 95.0 % at 29 % of the compute, with 42 visual tokens per layer"
    )
    assert any("models:/tiny@champion" in line for line in said)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (points((0, 0.5, 0.2)), "one operator (held-out questions); none is within a point of the unreduced model"),
        (points(), "tiny found no operator that meets its budget"),
        (points((7, 0.9, 0.2)).query("family == 'searched'"), "trial 7, keeps 90.0 % at 20 % of the compute"),
    ],
)
def test_a_poor_study_is_not_praised(frame, words, tmp_path):
    assert words in "\n".join(lines(frame, tmp_path))


def commands(said):
    return [shlex.split(line) for line in said if line.startswith("  ") and not line.startswith("    ")]


@pytest.mark.parametrize("runs", ["eos-runs", "elsewhere with space"])
@pytest.mark.parametrize("task", ["scenes", {"name": "files", "data": "q.jsonl", "allow_bad": 0.1}])
def test_what_to_type_next_is_taken_by_the_command(tmp_path, runs, task):
    found = commands(lines(FOUND, tmp_path, runs, task=task))
    assert len(found) == 3
    group = typer.main.get_command(cli.app)
    for program, *words in found:
        if program.endswith("eos"):
            name, *rest = words
            given = group.commands[name].make_context(name, rest)  # raises where an option is not one
            if name == "explain":
                assert given.params["operator"].name == "trial-1.json"
                assert str(given.params["data"] or "") == ("" if task == "scenes" else "q.jsonl")
            elif runs != "eos-runs":
                assert given.params["studies"] == tmp_path / runs
        else:
            assert words[0] == "ui"


def test_one_front_is_searched_and_held_out():
    frame = FOUND.assign(measured_on="held-out")
    assert frame[front_of(frame)]["trial"].tolist() == [0, 1, 2], "no design stands in its way"
    more = pd.concat([frame, points((9, 0.999, 0.01)).query("trial == 9").assign(measured_on="validation")])
    more = more.reset_index(drop=True)
    assert more[front_of(more)]["trial"].tolist() == [0, 1, 2], "validation is not held against held-out"
    early = more.assign(measured_on="validation")
    assert early[front_of(early)]["trial"].tolist() == [9]


def test_the_status_shows_the_front_of_the_final_comparison():
    columns = {"state": "complete", "accuracy": 0.9, "compute_ratio": 0.3, "mean_tokens": 9.0}
    trials = pd.DataFrame([{"trial": number, **columns, "front": number == 3} for number in range(5)])
    varied = {"budget": 0.1281, "learning_rate": 0.0526, "distill_weight": 0.0}
    before = Status("tiny", 5, 5, trials.assign(**varied), tuple(varied))
    after = with_heldout(before, FOUND)
    assert (before.front_on, after.front_on) == ("validation", "held-out")
    assert after.trials["front"].tolist() == [True, True, True, False, False]
    assert after.trials["heldout"].tolist()[:4] == [0.80, 0.945, 0.949, 0.70]
    heads = [column.header for column in status_table(after).columns]
    assert heads[-2:] == ["held-\nout", "front\nheld-\nout"]
    shown = Console(file=(out := io.StringIO()), width=80)
    shown.print(status_table(after))
    assert "…" not in out.getvalue()
    assert [column.header for column in status_table(before).columns][-1] == "front\nvalidation"
