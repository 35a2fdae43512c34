"""The table of films: what there is to measure, what every row may cost, what is refused, how it reads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eos_platform.analysis.experiments.films import table as films_table
from eos_platform.analysis.experiments.films.table import KINDS, budget_of, cells, design_of, frame, main, table
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.costs.match import match
from eos_platform.operators.designs import get_design
from eos_platform.operators.designs.films.over import over_film
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

TARGET = Target(layers=4, grid=(40, 5), frames=8)
SHAPE = DecoderShape(layers=4, hidden=512, heads=8, kv_heads=8, head_dim=64, intermediate=1024, vocab=1000)
SUBJECT = SimpleNamespace(target=TARGET, shape=SHAPE, text_tokens=20)


def test_every_kind_is_measured_at_every_share_and_searches_with_every_seed():
    found = cells("m", ("searched", "unreduced", "evs"), (0.25, 0.1), 3)
    assert len(found) == len(set(found)) == 6 + 1 + 2
    assert len(set(KINDS)) == len(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(("searched", "unreduced"))])
def test_designs_keep_to_what_so_many_tokens_cost(kind):
    budget = budget_of(SUBJECT, 0.25)
    operator = match(design_of(kind), budget, TARGET, SHAPE, SUBJECT.text_tokens)
    assert 0.4 * budget < compute_ratio(operator, SHAPE, SUBJECT.text_tokens) <= budget
    film = kind.endswith(films_table.WHOLE) or get_design(kind).films
    assert operator.scope == ("film" if film else "frame")


def test_frame_by_frame_costs_are_those_of_whole_tokens_of_each_frame():
    """Thirty of two hundred tokens are 3.75 of each frame, which are four."""
    site = SiteSpec(layer=1, keep=30, score={"norm": 1.0})
    one = OperatorSpec(target=TARGET, sites=(site,))
    alike = one.model_copy(update={"sites": (site.model_copy(update={"keep": 32}),)})
    film = one.model_copy(update={"sites": (site.model_copy(update={"scope": "film", "keep": 32}),)})
    ratios = [compute_ratio(spec, SHAPE, 20) for spec in (one, alike, film)]
    assert ratios[0] == ratios[1] == pytest.approx(ratios[2], rel=1e-12)
    assert OperatorPlan.of(one).of_grid((5, 5)).counts == (25, 4, 4, 4)


def test_what_cannot_be_of_a_film_is_refused():
    with pytest.raises(EosError, match="design 'holov, whole film': strips are of single pictures"):
        over_film(get_design("holov")).build(TARGET, 40)
    with pytest.raises(EosError, match="design 'tome, whole film': looks across the frames of a film"):
        over_film(get_design("tome")).build(Target(layers=4, grid=(4, 5)), 8)
    with pytest.raises(EosError, match="did you mean 'evs'"):
        design_of("ev")
    assert main(["--kinds", "ev"]) == 2


def test_rows_become_a_table():
    rows = [
        {"kind": "unreduced", "ratio": 1.0, "seed": 0, "heldout": 0.9, "skills": {"order": 0.8}},
        *({"kind": "searched", "ratio": 0.1, "seed": seed, "heldout": 0.7 + 0.02 * seed} for seed in range(3)),
        {"kind": "evs", "ratio": 0.1, "seed": 0, "heldout": 0.0, "refused": "design 'evs': no"},
    ]
    found = frame(rows)
    assert found["accuracy"].isna().sum() == 1
    lines = table(rows).splitlines()
    assert lines[0] == "| kind | 10% |"
    assert "| searched | 72.0 ± 2.0 |" in lines
    assert lines[-1] == "| evs | – |"
