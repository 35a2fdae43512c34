"""What a person reads while a study runs."""

import io

import pytest
from engine_fakes import study_file
from rich.console import Console

from eos_platform.engine.final_evaluation import spread
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.terminal.progress import ProgressDisplay, duration, summary
from eos_platform.tracking.rows import TrialRow

WELL = TrialRow(
    0, "complete", params={"budget": 0.2}, measured={"accuracy": 0.9, "compute_ratio": 0.19, "seconds": 4.0}
)
FAILED = TrialRow(1, "failed", params={"budget": 0.2}, failure="ValueError: no")


@pytest.fixture
def front(folder):
    with store.open_store(folder, create=True) as optuna_study:
        trial = optuna_study.ask({name: one.distribution() for name, one in study_file().space.items()})
        trial.set_user_attr("measured", {"mean_tokens": 40.0})
        optuna_study.tell(trial, [0.9, 0.19])
        yield stored.front(optuna_study)


def test_plain_lines_when_not_a_terminal(front):
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, width=60), "tiny", done=2, target=5, concurrent=2) as display:
        display.started(0)
        display.step(0, 2, 4)
        display.finished(WELL, front)
        display.finished(FAILED, front)
        display.finished(TrialRow(2, "pruned", params={}), front)
    lines = out.getvalue().splitlines()
    assert lines[0] == "tiny: 2 of 5 trials done, 2 at a time"
    assert lines[1].startswith("[3/5] trial 0: accuracy 90.0% at compute ratio 0.190 (budget 0.2), 4 s, about 0 s left")
    assert lines[2].startswith("[4/5] trial 1: failed: ValueError: no")
    assert lines[3] == "[5/5] trial 2: stopped early"


@pytest.mark.parametrize(
    ("params", "measured", "said"),
    [
        ({"cost": "prefill_ms", "budget": 8.0}, {"prefill_ms": 7.913}, "(budget 8 ms, used 7.913 ms)"),
        ({"cost": "kv_bytes", "budget": 2e5}, {}, "(budget 200 kB)"),
        ({"cost": "of_a_package_that_is_gone", "budget": 8.0}, {}, "(budget 8)"),
    ],
)
def test_budgets_of_another_cost_have_their_unit(params, measured, said):
    row = TrialRow(0, "complete", params=params, measured={**WELL.measured, **measured})
    assert said in summary(row)


def test_a_live_board_in_a_terminal(front):
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True)
    now = [0.0]
    with ProgressDisplay(console, "tiny", done=0, target=5, concurrent=2, clock=lambda: now[0]) as display:
        display.started(0)
        display.started(3)
        now[0] = 4.0
        display.step(3, 20, 40)
        display.finished(WELL, front)
        display.finished(FAILED, front)
        shown = Console(file=io.StringIO(), width=100, record=True)
        shown.print(display.render())
    text = shown.export_text()
    for words in (
        "2 of 5 done, 1 running",
        "1 failed",
        "about 4 s left",  # of two more searches, at a time, of 4 s each
        "step 20 of 40",
        "best so far",
        "90.0%",
        "40",
    ):
        assert words in text, words
    assert "trial 1: failed: ValueError: no" in out.getvalue()


def test_no_guess_before_there_is_a_pace():
    assert ProgressDisplay(Console(file=io.StringIO()), "tiny", done=3, target=5, concurrent=2).eta() is None


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("values", "most", "chosen"),
    [
        ([], 3, []),
        ([0.2], 3, [0.2]),
        ([0.1, 0.2], 1, [0.1]),
        ([0.17, 0.22, 0.45, 0.47], 3, [0.17, 0.22, 0.47]),
        ([0.1, 0.11, 0.3, 0.9, 0.9], 3, [0.1, 0.3, 0.9]),
    ],
)
def test_ratios_to_match_are_spread(values, most, chosen):
    assert spread(values, most) == chosen
