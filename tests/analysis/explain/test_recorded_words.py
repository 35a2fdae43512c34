"""Words, ablations and distances of many sites, each branch once, as they were last looked at."""

import itertools
import math

import pytest
import torch

from eos_platform.analysis.explain.ablations import ablations
from eos_platform.analysis.explain.describe import place_words, site_words
from eos_platform.analysis.explain.nearest import distances
from eos_platform.operators.designs import DESIGNS, LLAVA
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target, Transfer

TARGET = Target(layers=12, grid=(6, 8), vision_layers=6)
NORM = {"layer": 0, "keep": 20, "score": {"norm": 1.0}}
INF = math.inf
STEERED = {"probe": (0.3, -0.4), "steering": Steering.of(torch.tensor([[1.0, 0.5]]), torch.tensor([[0.2, 0.1]]))}
SITES = {
    "prune": NORM,
    "identity": NORM | {"keep": 48},
    "reweight": NORM | {"keep": 48, "rho": 0.25},
    "drop_all": {"layer": 4, "keep": 0, "selector": "drop_all"},
    "withdraw gamma": {"layer": 4, "keep": 0, "selector": "drop_all", "transfer": Transfer(gamma=1.0)},
    "tower": {"layer": 3, "keep": 30, "place": "tower", "selector": "farthest", "similarity": "keys"},
    "diverse_topk": NORM | {"selector": "diverse_topk", "spread": 1.5, "layer": 5},
    "cover 0": NORM | {"selector": "diverse_topk", "spread": 0.0},
    "important": NORM | {"selector": "grid", "important": 7},
    "keys": NORM | {"selector": "dpp", "similarity": "keys"},
    "steered": NORM | STEERED,
    "two features": NORM | {"score": {"norm": 0.6, "vision": -0.8}, "probe": (1.0, 0.0), "rho": 0.5},
    "renumbered": NORM | {"layer": 2, "positions": "renumber"},
    "summary": NORM | {"summary": True, "transfer": Transfer(gamma=0.0)},
    "merge, beta": NORM | {"transfer": Transfer(gamma=1.0, tau=0.0, nu=1.0), "beta": 0.95},
    "merge, more beta": NORM | {"transfer": Transfer(gamma=1.0, tau=0.0, nu=1.0), "beta": 0.96},
    "pool": NORM | {"transfer": Transfer(gamma=1.0, tau=INF, nu=1.0)},
    "window": NORM | {"transfer": Transfer(gamma=1.0, tau=INF, nu=0.5, support={"kind": "window", "size": 12})},
    "nearest": NORM | {"transfer": Transfer(gamma=0.4, tau=0.3, nu=0.1, support={"kind": "nearest", "size": 3})},
    "destinations": NORM
    | {"selector": "alternate", "keep": 30, "transfer": Transfer(gamma=1.0, tau=0.0, nu=0.0, to="destinations")},
    "anchor": NORM
    | {"transfer": Transfer(gamma=1.0, tau=INF, nu=1.0, by="anchor", support={"kind": "nearest", "size": 5})},
    "anchor, none": NORM
    | {"transfer": Transfer(gamma=0.0, tau=INF, nu=1.0, by="anchor", support={"kind": "nearest", "size": 5})},
    "overlap": NORM
    | {
        "selector": "grid",
        "keep": 12,
        "transfer": Transfer(gamma=1.0, tau=INF, nu=1.0, by="anchor", support={"kind": "overlap", "size": 12}),
    },
    "among": NORM | {"transfer": Transfer(gamma=1.0, tau=0.0, nu=0.9, among=0.25, mu=0.5)},
    "importance": NORM | {"transfer": Transfer(gamma=1.0, tau=0.02, nu=0.2, source="importance"), "rho": 0.3},
    "attention": NORM
    | {"score": {"vision": 1.0}, "transfer": Transfer(gamma=0.7, tau=0.019, nu=0.8, source="attention")},
    "soft": NORM | {"transfer": Transfer(gamma=0.9, tau=0.5, nu=0.81), "beta": 0.3},
}


def operator(*names):
    return OperatorSpec(target=TARGET, sites=tuple(SiteSpec.model_validate(SITES[name]) for name in names))


def after(first, second):
    """Two sites, the second deeper and smaller."""
    one, other = (SiteSpec.model_validate(SITES[name]) for name in (first, second))
    other = other.model_copy(update={"layer": max(one.layer, other.layer, 6), "keep": min(other.keep, one.keep)})
    return OperatorSpec.model_validate({"target": TARGET, "sites": (one, other)})


PAIRS = [("merge, beta", "soft"), ("diverse_topk", "drop_all"), ("prune", "summary"), ("nearest", "two features")]


def test_recorded_words(recorded):
    found = {name: [place_words(operator(name).sites[0]), *site_words(operator(name), 0)] for name in SITES}
    for pair in PAIRS:
        found[" then ".join(pair)] = [site_words(after(*pair), number) for number in (0, 1)]
    shrunk = OperatorSpec(target=TARGET, image=(3, 4), sites=(SiteSpec(layer=1, keep=5, score={"norm": 1}, beta=0.5),))
    recorded("words", found | {"shrunk": site_words(shrunk, 0)})


def changed(made):
    """Per ablation: its name, what was there, and the fields that differ."""
    rows = []
    for ablation in ablations(made):
        sites = [site.model_dump(mode="json") for site in ablation.operator.sites]
        before = [site.model_dump(mode="json") for site in made.sites]
        if len(sites) == len(before):
            pairs = zip(before, sites, strict=True)
            differ = [{name: new[name] for name in new if new[name] != old[name]} for old, new in pairs]
        else:
            differ = [[site["layer"], site["keep"]] for site in sites]
        rows.append([ablation.name, ablation.was, differ])
    return rows


def test_recorded_ablations(recorded):
    found = {name: changed(operator(name)) for name in SITES}
    recorded("ablations", found | {" then ".join(pair): changed(after(*pair)) for pair in PAIRS})


def test_recorded_distances(recorded):
    made = {name: operator(name) for name in SITES}
    made |= {" then ".join(pair): after(*pair) for pair in PAIRS}
    made["shrunk"] = OperatorSpec(target=TARGET, image=(3, 4))
    del made["identity"]  # removes nothing that could be placed
    found = {f"{a} | {b}": list(distances(made[a], made[b]).values()) for a, b in itertools.pairwise(made)}
    found |= {f"{a} | shrunk": list(distances(made[a], made["shrunk"]).values()) for a in made}
    recorded("distances", found)
    for a, b in itertools.pairwise(made):
        assert distances(made[a], made[b]) == pytest.approx(distances(made[b], made[a]))


def test_recorded_words_of_designs(recorded):
    found = {}
    for name, design in DESIGNS.items():
        target = LLAVA.model_copy(update={"frames": 4 if design.films else 1})
        made = design.build(target, 576 if name == "reweight" else 150)
        found[name] = [site_words(made, number) for number in range(len(made.sites))][:3]
    recorded("words-of-designs", found)
