"""Seconds that remain, held against a study that is played through."""

import io

import pytest
from rich.console import Console

from eos_platform.terminal.eta import Eta, Work
from eos_platform.terminal.final_bar import final_bar

WORK = Work(batch=16, validation=512, operators=17, questions=1024)
LOAD, STEP, QUESTION = 20.0, 0.5, 0.012  # of a first search in a worker; of a step; of a question


class Played:
    """A study of ``trials`` searches of 60 steps, ``concurrent`` at a time; the model is loaded once a worker."""

    def __init__(self, trials=6, concurrent=2, work=WORK):
        self.now, self.told = 0.0, []
        eta = Eta(trials, concurrent, work, lambda: self.now)
        after = 2 * work.validation * QUESTION
        for first in range(0, trials, concurrent):
            numbers = range(first, first + concurrent)
            for number in numbers:
                eta.started(number)
            self.now += 0.0 if first else LOAD
            for step in range(1, 61):
                self.now += STEP
                for number in numbers:
                    eta.step(number, step, 60)
                self.told.append((self.now, eta.seconds()))
            self.now += after
            for number in numbers:
                eta.ended(number)
                self.told.append((self.now, eta.seconds()))
        self.end = self.now + work.operators * work.questions * QUESTION / concurrent


def test_the_first_guess_is_believable_and_later_ones_are_good():
    played = Played()
    guesses = [(now, said) for now, said in played.told if said is not None]
    first_at, first = guesses[0]
    assert first_at < 0.1 * played.end, "a guess within a tenth of the time"
    assert 0.5 < first / (played.end - first_at) < 2.0
    for now, said in guesses:
        if now > 0.35 * played.end:
            assert 0.75 < said / (played.end - now) < 1.35


def test_the_comparison_at_the_end_counts():
    played = Played()
    assert played.told[-1][1] == pytest.approx(played.end - played.now, rel=0.01)
    assert played.told[-1][1] > 100


def test_nothing_is_said_before_there_is_a_pace():
    now = [0.0]
    eta = Eta(4, 2, WORK, lambda: now[0])
    assert eta.seconds() is None
    eta.started(0)
    now[0] = 100.0  # the model is loaded
    eta.step(0, 1, 60)
    assert eta.seconds() is None
    now[0] = 101.0
    eta.step(0, 3, 60)
    assert eta.seconds() is None
    now[0] = 104.0
    eta.step(0, 9, 60)
    assert eta.seconds() < 700  # 4 searches, two at a time, of 30 s and what loading took


def test_what_is_cut_off_or_stopped_says_nothing_of_the_pace():
    now = [0.0]
    eta = Eta(3, 1, None, lambda: now[0])
    eta.started(0)
    now[0] = 10.0
    eta.ended(0, whole=False)  # stopped early
    assert eta.seconds() is None
    eta.started(1)
    now[0] = 30.0
    eta.ended(1)
    assert eta.seconds() == pytest.approx(20.0)
    eta.started(2)
    now[0] = 35.0
    eta.ended(2, counts=False, whole=False)  # its worker died
    assert eta.seconds() == pytest.approx(20.0)


def test_the_final_comparison_in_lines():
    out, now = io.StringIO(), [0.0]
    with final_bar(Console(file=out, width=100), "tiny", 8, 1024, lambda: now[0]) as advance:
        for _ in range(8):
            now[0] += 5.0
            advance()
    assert out.getvalue().splitlines() == [
        "tiny: final comparison, 8 operators on 1,024 held-out questions each",
        "[2/8] held-out, about 30 s left",
        "[4/8] held-out, about 20 s left",
        "[6/8] held-out, about 10 s left",
    ]


def test_the_final_comparison_in_a_terminal():
    out = io.StringIO()
    with final_bar(Console(file=out, width=100, force_terminal=True), "tiny", 2, 8) as advance:
        advance()
    assert "held-out questions" in out.getvalue()
    assert "final comparison" not in out.getvalue()
