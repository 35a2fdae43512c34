"""Black-box search on the small bundled model: its space is the gradient search's, and it keeps its books."""

import json

import pytest
import torch

from eos_platform.analysis.baselines import blackbox_samplers
from eos_platform.analysis.baselines.blackbox import SAMPLERS, Judge, Point, blackbox, main, samples_to_reach, table
from eos_platform.analysis.baselines.blackbox_space import Space
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig
from eos_platform.search.discretise import to_operator, whole_counts
from eos_platform.search.parameters import Parameters
from eos_platform.search.start import counts_now
from eos_platform.tasks import evaluate

FEW = {"trials": 3, "questions": 8, "heldout": 8}


def config(**values):
    return SearchConfig(**{"budget": 0.15, **values})


def drawn(space, seed):
    """A point of the space, any number within its bounds."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(len(space.entries), generator=generator, dtype=torch.float64).tolist()
    low_high = [(entry.scale.low, entry.scale.high) for entry in space.entries]
    return {
        entry.name: low * (high / low) ** part if entry.scale.log else low + (high - low) * part
        for entry, (low, high), part in zip(space.entries, low_high, share, strict=True)
    }


@pytest.mark.parametrize("settings", [{}, {"probe": False}, {"selector": "score"}, {"layers": (0, 2, 5)}])
def test_it_starts_exactly_where_a_gradient_search_does(small, settings):
    space = Space(small, config(**settings))
    parameters = Parameters(config(**settings), small.target, small.shape.hidden)
    soft = counts_now(parameters, small, config(**settings).budget).detach()
    counts = whole_counts(soft, parameters, config(**settings), small.target, small.shape, small.text_tokens)
    assert space.operator(space.start, "x") == to_operator(parameters, counts, small.target, "x")


@pytest.mark.parametrize("probe", [True, False])
def test_a_point_filled_in_reads_as_it_was(small, probe):
    space = Space(small, config(probe=probe))
    values = drawn(space, 1)
    operator = space.operator(values, "x")
    again = space.values()
    assert again == pytest.approx(values, rel=1e-4)
    assert space.operator(again, "x") == operator
    assert space.start != values
    assert all(bool(site.probe) == probe for site in operator.sites)


def test_what_it_leaves_out_changes_no_operator(small):
    space = Space(small, config())
    width, sites = small.shape.hidden, len(space.parameters.layers)
    # a share and two features of the first site aside, everything a search has is there
    every = sum(value.numel() for value in space.parameters.parameters())
    assert len(space.entries) == every - 3
    assert len({entry.name for entry in space.entries}) == len(space.entries)
    before = space.operator(drawn(space, 2), "x")
    with torch.no_grad():
        space.parameters.keep[0] = -3.0
        space.parameters.weights[0, :2] = 40.0
    assert space.operator(drawn(space, 2), "x") == before
    assert len(Space(small, config(probe=False)).entries) == len(space.entries) - sites * width


@pytest.mark.parametrize("budget", [0.06, 0.15, 0.5])
def test_every_point_meets_the_budget(small, budget):
    space = Space(small, config(budget=budget, probe=False))
    ratios = [
        compute_ratio(space.operator(drawn(space, seed), "x"), small.shape, small.text_tokens) for seed in range(20)
    ]
    assert max(ratios) <= budget
    assert min(ratios) > budget - 0.02  # one more token is about a hundredth here


def test_accuracy_is_the_deployed_one(small):
    operator = Space(small, config(budget=0.3)).operator(Space(small, config()).start, "x")
    found = evaluate(small, operator, "search", 40)
    assert Judge(small, 40).accuracy(operator) == pytest.approx(found.accuracy)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_curve_of_every_sampler(small, sampler):
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    reported = []
    outcome = blackbox(small, config(probe=False), sampler, **FEW, report=reported.append)
    assert tuple(reported) == outcome.curve
    assert [point.samples for point in reported] == [8, 16, 24]
    start = Space(small, config(probe=False))
    assert reported[0].accuracy == Judge(small, 8).accuracy(start.operator(start.start, "x"))
    best = 0.0
    for point in reported:
        best = max(best, point.accuracy)
        assert point.best == best
        assert point.seconds > point.sampler_seconds > 0
    assert [point.heldout is None for point in reported] == [True, True, False]
    assert reported[-1].heldout == evaluate(small, outcome.operator, "heldout", 8).accuracy
    assert outcome.compute_ratio <= 0.15
    assert outcome.operator.provenance["sampler"] == sampler


def test_seeds_decide_what_is_tried(small):
    def tried(seed):
        return [point.accuracy for point in blackbox(small, config(probe=False, seed=seed), "random", **FEW).curve]

    def proposed(seed):
        space = Space(small, config(probe=False))
        study, asked = blackbox_samplers.make_study("random", space, seed, 3)
        return [study.ask(asked).params for _ in range(2)]

    assert tried(3) == tried(3)
    assert proposed(3)[0] == proposed(4)[0] == Space(small, config(probe=False)).start
    assert proposed(3)[1] != proposed(4)[1]


def test_the_command_writes_curves_and_operators(small, tmp_path, capsys, monkeypatch):
    pytest.importorskip("cmaes")
    from eos_platform.analysis.baselines import blackbox as module

    monkeypatch.setattr(module, "load_workload", lambda *args, **options: small)
    monkeypatch.setattr(module, "MARKS", (1,))
    out = tmp_path / "made" / "curves.jsonl"
    words = ["--model", "bundled-small", "--budget", "0.12", "--samplers", "tpe", "cmaes", "--out", str(out)]
    assert main([*words, "--trials", "2", "--questions", "8", "--heldout", "8", "--seed", "5"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["kind"], row["sampler"]) for row in rows] == [
        (kind, sampler) for sampler in ("tpe", "cmaes") for kind in ("trial", "trial", "result")
    ]
    assert all(row["budget"] == 0.12 and row["probe"] and row["seed"] == 5 for row in rows)
    assert rows[0]["heldout"] is not None
    for row in rows[2::3]:
        operator = OperatorSpec.load(out.parent / row["operator"])
        assert list(operator.counts) == row["counts"]
        assert row["compute_ratio"] <= 0.12
    shown = capsys.readouterr().out
    assert "at 1" in shown
    assert "cmaes" in shown


def test_samples_to_reach():
    def point(trials, best, heldout=None):
        return Point(trials, 100 * trials, 1.0 * trials, 0.1, best, best, heldout)

    curve = [point(1, 0.5), point(2, 0.7, 0.6), point(3, 0.8), point(4, 0.8, 0.75)]
    assert samples_to_reach(curve, 0.7) == 200
    assert samples_to_reach(curve, 0.75) == 300
    assert samples_to_reach(curve, 0.9) is None
    assert samples_to_reach(curve, 0.7, heldout=True) == 400
    assert samples_to_reach([], 0.1) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samplers", "tpee"], "unknown sampler 'tpee'; did you mean 'tpe'"),
        (["--trials", "0"], "trials must be at least 1, got 0"),
        (["--budget", "2"], "budget"),
        (["--model", "nobody", "--samplers", "tpe"], "model 'nobody'"),
        (["--model", "bundled-small", "--samplers", "tpe", "--budget", "0.001"], "budget 0.001 is impossible"),
    ],
)
def test_bad_words_in_one_line(words, message, tmp_path, capsys, monkeypatch, small):
    from eos_platform.analysis.baselines import blackbox as module

    load = module.load_workload
    monkeypatch.setattr(module, "load_workload", lambda name, **options: small if "small" in name else load(name))
    assert main([*words, "--out", str(tmp_path / "x.jsonl")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said


@pytest.mark.parametrize("missing", ["cmaes", "optuna"])
def test_a_missing_package_is_named(missing, monkeypatch):
    monkeypatch.setattr(blackbox_samplers, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(EosError, match=f"pip install {missing}"):
        blackbox_samplers.check_samplers(["random", "cmaes"])
    if missing == "cmaes":
        blackbox_samplers.check_samplers(["random", "tpe"])


def test_the_table_has_a_row_a_sampler(small):
    outcome = blackbox(small, config(probe=False), "random", **FEW)
    assert table({"random": outcome, "again": outcome}).count("\n") == 2


def test_seconds_add_up_and_held_out_questions_are_in_nobodys_time(small, monkeypatch):
    from types import SimpleNamespace

    from eos_platform.analysis.baselines import blackbox as module

    clock = iter(range(0, 10_000, 3))  # read four times a trial: begun, drawn, judged, ended
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(module.Judge, "accuracy", lambda self, operator: 0.5)
    asked = []
    monkeypatch.setattr(module, "evaluate", lambda *words: asked.append(words) or SimpleNamespace(accuracy=0.25))
    outcome = blackbox(small, config(probe=False), "random", trials=11, questions=8, heldout=16)
    assert [point.seconds for point in outcome.curve] == [9.0 * number for number in range(1, 12)]
    assert [point.sampler_seconds for point in outcome.curve] == [6.0 * number for number in range(1, 12)]
    assert [point.trials for point in outcome.curve if point.heldout == 0.25] == [10, 11]
    assert len(asked) == 1  # the best is still the first: it was measured already
    assert outcome.operator.provenance["trial"] == 1
    assert outcome.numbers == len(Space(small, config(probe=False)).entries)


@pytest.mark.parametrize("missing", ["optuna", "cmaes"])
def test_only_what_is_asked_for_must_be_there(missing, monkeypatch):
    monkeypatch.setattr(blackbox_samplers, "find_spec", lambda name: None if name == missing else object())
    if missing == "optuna":
        with pytest.raises(EosError, match="pip install optuna"):
            blackbox_samplers.check_samplers(["tpe"])
    else:
        blackbox_samplers.check_samplers(["tpe"])


def test_nothing_of_the_space_asks_for_a_gradient(small):
    assert not any(value.requires_grad for value in Space(small, config()).parameters.parameters())
