"""Tuning: how many questions it may ask, what it counts, and what it chooses."""

from types import SimpleNamespace

import optuna
import pytest

from eos_platform.analysis.comparison import tune as module
from eos_platform.analysis.comparison.tune import distribution, tune
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape
from eos_platform.operators.designs.base import Design, Knob
from eos_platform.operators.spec import SiteSpec, Target

TARGET = Target(layers=8, grid=(12, 12))
SHAPE = DecoderShape(layers=8, hidden=256, heads=4, kv_heads=4, head_dim=64, intermediate=688, vocab=128)
WORKLOAD = SimpleNamespace(target=TARGET, shape=SHAPE, text_tokens=20)


def make(target, tokens, knobs):
    """Tokens chosen by one of two features, before the layer asked for or the last that allows so few."""
    layer = min(knobs["layer"], int(target.layers * (tokens - 1) // (target.tokens - 1)))
    keep = int((tokens * target.layers - layer * target.tokens) // (target.layers - layer))
    score = {knobs["by"]: 1.0, "vision": knobs["weight"]}
    return (SiteSpec(layer=layer, keep=min(keep, target.tokens), score=score),)


DESIGN = Design(
    "stand-in",
    "prune",
    "nobody",
    "a design with a knob of every kind",
    make,
    knobs=lambda target: (
        Knob("layer", 0, low=0, high=target.layers - 1),
        Knob("weight", 0.5, low=0.1, high=2.0, log=True),
        Knob("by", "norm", choices=("norm", "uniqueness")),
    ),
)


@pytest.fixture
def asked(monkeypatch):
    """Every evaluation made; accuracy grows with the weight of ``vision``, best by ``uniqueness``."""
    calls = []

    def evaluate(workload, operator, split, questions):
        calls.append((operator, split, questions))
        score = operator.sites[0].score
        return SimpleNamespace(accuracy=score["vision"] / 10 + 0.5 * ("uniqueness" in score))

    monkeypatch.setattr(module, "evaluate", evaluate)
    return calls


def test_it_asks_as_much_as_a_search_and_starts_from_what_is_published(asked):
    output, verbosity = [], optuna.logging.get_verbosity()
    found = tune(WORKLOAD, DESIGN, 0.4, trials=12, samples=12 * 40 + 7, notify=lambda *words: output.append(words))
    assert len(asked) == found.trials == 12
    assert {(split, questions) for _, split, questions in asked} == {("search", 40)}
    assert found.samples == 480
    first = asked[0][0].sites[0]
    assert (first.layer, first.score) == (0, {"norm": 1.0, "vision": 0.5})
    assert found.default_accuracy == pytest.approx(0.05)
    assert found.knobs["by"] == "uniqueness"
    best = max(call[0].sites[0].score["vision"] for call in asked if "uniqueness" in call[0].sites[0].score)
    assert found.knobs["weight"] == best
    assert found.accuracy == pytest.approx(0.5 + best / 10)
    assert found.operator.sites[0].score["vision"] == best
    assert output[-1] == (12, 12, found.accuracy)
    assert optuna.logging.get_verbosity() == verbosity


def test_the_same_seed_finds_the_same(asked):
    first = tune(WORKLOAD, DESIGN, 0.4, trials=8, samples=80, seed=1)
    assert tune(WORKLOAD, DESIGN, 0.4, trials=8, samples=80, seed=1) == first
    assert tune(WORKLOAD, DESIGN, 0.4, trials=8, samples=80, seed=2) != first


def test_knobs_out_of_reach_cost_nothing(asked, monkeypatch):
    late = {"layer": 6}
    tried = []

    def match(design, ratio, *words, **knobs):
        tried.append(knobs)
        if knobs["layer"] >= 3:
            raise EosError("out of reach")
        return real(design, ratio, *words, **knobs)

    real = module.match
    monkeypatch.setattr(module, "match", match)
    found = tune(WORKLOAD, DESIGN, 0.4, trials=6, samples=60)
    assert len(asked) == 6
    assert found.proposed == len(tried) > 6
    assert found.knobs["layer"] < 3 < late["layer"]


def test_out_of_reach_altogether_says_why(asked):
    with pytest.raises(EosError, match=r"cannot reach compute ratio 0\.01"):
        tune(WORKLOAD, DESIGN, 0.01, trials=3, samples=30)
    assert not asked


def test_operators_met_before_are_not_asked_again(asked):
    few = Design("few", "prune", "", "", make, knobs=lambda target: (
        Knob("layer", 0, choices=(0, 1)), Knob("weight", 1.0, choices=(1.0,)), Knob("by", "norm", choices=("norm",)),
    ))  # fmt: skip
    found = tune(WORKLOAD, few, 0.4, trials=10, samples=100)
    assert len(asked) == found.trials == 2
    assert found.samples == 20
    assert found.proposed == 40


def test_of_equally_accurate_ones_the_cheaper(monkeypatch):
    monkeypatch.setattr(module, "evaluate", lambda *words: SimpleNamespace(accuracy=0.5))
    monkeypatch.setattr(module, "compute_ratio", lambda operator, *rest: 0.4 - operator.sites[0].layer / 100)
    found = tune(WORKLOAD, DESIGN, 0.4, trials=12, samples=120)
    layers = {knob.name: knob for knob in DESIGN.knobs(TARGET)}["layer"]
    assert found.knobs["layer"] > layers.default


def test_kinds_of_knobs():
    number = distribution(Knob("a", 3, low=1, high=9))
    assert (number.low, number.high, type(number).__name__) == (1, 9, "IntDistribution")
    share = distribution(Knob("a", 0.3, low=0.1, high=0.9, log=True))
    assert (share.low, share.high, share.log) == (0.1, 0.9, True)
    assert distribution(Knob("a", "x", choices=("x", "y"))).choices == (0, 1)
    with pytest.raises(EosError, match="neither choices nor bounds"):
        distribution(Knob("a", 3))


@pytest.mark.parametrize(("trials", "random"), [(3, 4), (11, 4), (12, 4), (15, 5), (29, 9), (30, 10), (60, 10)])
def test_a_third_of_the_trials_within_bounds_is_drawn_at_random(asked, monkeypatch, trials, random):
    output = []
    real = optuna.samplers.TPESampler
    monkeypatch.setattr(optuna.samplers, "TPESampler", lambda **words: output.append(words) or real(**words))
    tune(WORKLOAD, DESIGN, 0.4, trials=trials, samples=10 * trials, seed=7)
    assert output == [{"seed": 7, "n_startup_trials": random}]
