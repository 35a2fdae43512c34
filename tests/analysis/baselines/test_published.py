"""Published schedules on LLaVA-1.5-7B: counts, mean tokens and FLOPs, as published or computed from those elsewhere."""

import pytest

from eos_platform.analysis.baselines import published as module
from eos_platform.analysis.baselines.published import SHAPE, TEXT, published, tera
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.designs import DESIGNS, LLAVA
from eos_platform.operators.spec import OperatorSpec

ALL = {(one.design, one.nominal): one for one in published()}


def flowing(keep):
    """Counts by block of the tower."""
    left, counts = 576, {}
    for block in range(1, 22, 2):
        left = keep if block == 21 else left - int((left - keep) * 0.5 / (21 - block) ** 0.5)
        counts[block] = left
    return counts


# layer: tokens from there on; mean tokens; TFLOPs (a multiply-add as one) of visual tokens alone and with 60 of text
FIGURES = {
    ("fastv", 306): ({2: 288}, 306, 2.007, 2.407),
    ("fastv", 315): ({3: 288}, 315, 2.068, 2.467),
    ("fastv", 171): ({2: 144}, 171, 1.118, 1.513),
    ("fastv", 192): ({2: 165}, 190.7, 1.247, 1.643),
    ("fastv", 128): ({2: 96}, 126, 0.824, 1.217),
    ("fastv", 64): ({2: 28}, 62.2, 0.409, 0.800),
    ("sparsevlm", 192): ({3: 309, 7: 204, 16: 113}, 206.5, 1.353, 1.749),
    ("sparsevlm", 128): ({3: 312, 7: 117, 16: 39}, 145.4, 0.954, 1.348),
    ("sparsevlm", 96): ({3: 249, 7: 55, 16: 27}, None, None, None),
    ("sparsevlm", 64): ({3: 82, 7: 32, 16: 18}, 82.2, 0.541, 0.933),
    ("sparsevlm-v2", 192): ({3: 300, 7: 200, 16: 118}, 206.8, 1.355, 1.751),
    ("sparsevlm-v2", 128): ({3: 238, 7: 108, 16: 60}, 144.1, 0.945, 1.339),
    ("sparsevlm-v2", 96): ({3: 246, 7: 54, 16: 28}, None, None, None),
    ("sparsevlm-v2", 64): ({3: 66, 7: 34, 16: 20}, 81.8, 0.538, 0.930),
    ("pyramiddrop", 270): ({8: 288, 16: 144, 24: 72}, 270, 1.777, 2.175),
    ("pyramiddrop", 192): ({8: 143, 16: 36, 24: 9}, 191, None, None),
    ("pyramiddrop", 128): ({2: 303, 6: 110, 16: 36}, 126.2, None, None),
    ("pyramiddrop", 64): ({2: 66, 6: 30, 16: 17}, 62.1, None, None),
    ("vtw", 270): ({15: 0}, 270, 1.789, 2.187),
    ("vtw", 288): ({16: 0}, 288, 1.909, 2.307),
    ("dart", 192): ({2: 196}, None, None, None),
    ("dart", 128): ({2: 132}, 159.8, 1.044, 1.439),
    ("dart", 64): ({2: 68}, None, None, None),
    ("divprune", 56): ({0: 56}, 56, None, None),
    **{
        (name, count): ({0: count}, count, visual, text)
        for count, visual, text in ((192, 1.253, 1.649), (128, 0.833, 1.227), (64, 0.416, 0.807))
        for name in (
            *("visionzip", "vispruner", "divprune", "cdpruner", "fastervlm", "scope", "mmtok", "holov", "zoo-prune"),
            *("cen-divprune", "cen-cdpruner", "tops"),
        )
        if (name, count) not in [(other, 192) for other in ("cdpruner", "cen-divprune", "cen-cdpruner", "tops")]
    },
    ("cen-divprune", 32): ({0: 32}, 32, None, None),
    ("tops", 32): ({0: 32}, 32, None, None),
    ("mmtok", 16): ({0: 16}, 16, None, None),
    ("v2drop", 192): ({3: 288, 17: 144, 22: 1}, 202.8, None, None),
    ("nuwa", 192): ({0: 336, 16: 48}, 192, None, None),
    ("nuwa", 128): ({0: 224, 16: 32}, 128, None, None),
    ("nuwa", 64): ({0: 112, 16: 16}, 64, None, None),
    **{("prunesid", count): ({0: count}, count, None, None) for count in (192, 128, 64)},
    ("adaptinfer", 128): ({2: 290, 11: 72, 21: 18}, 146.3, None, None),
    ("adaptinfer", 64): ({2: 133, 11: 27, 21: 3}, 82.9, None, None),
    ("adaptinfer", 48): ({2: 80, 11: 24, 21: 2}, 66.7, None, None),
    ("adaptinfer", 32): ({2: 40, 11: 12, 21: 0}, 51.0, None, None),
    # of half of what is to go, the root of the blocks to go
    **{("flowcut", count): (flowing(count), count, None, None) for count in (192, 128, 64)},
}


def test_figures_are_of_every_published_schedule():
    assert set(FIGURES) == set(ALL)


@pytest.mark.parametrize("key", FIGURES, ids=lambda key: f"{key[0]}-{key[1]}")
def test_counts_means_and_flops(key):
    one, (stages, mean, visual, text) = ALL[key], FIGURES[key]
    assert {site.layer: site.keep for site in one.operator.sites} == stages
    assert one.operator.target == LLAVA
    assert one.operator.regime == DESIGNS[key[0]].regime
    assert OperatorSpec.from_json(one.operator.to_json()) == one.operator
    # published figures are rounded, half up or to even
    for found, figure, last in (
        (one.operator.mean_tokens, mean, 0.1),
        (one.tera, visual, 1e-3),
        (one.tera_text, text, 1e-3),
    ):
        if figure is not None:
            assert found == pytest.approx(figure, abs=0.51 * last)
    assert one.ratio == compute_ratio(one.operator, SHAPE, TEXT)


def test_the_unreduced_model():
    nothing = OperatorSpec(target=LLAVA)
    assert [round(tera(nothing), 3), round(tera(nothing, TEXT), 3)] == [3.817, 4.225]


def test_shares_of_what_stays():
    """Contextual tokens, important ones, and what is recycled on top of what is kept."""
    important = {key: tuple(site.important for site in one.operator.sites) for key, one in ALL.items()}
    assert [important["visionzip", count] for count in (192, 128, 64)] == [(162,), (108,), (54,)]
    assert [important["vispruner", count] for count in (192, 128, 64)] == [(96,), (64,), (32,)]
    kept = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
    assert {count: important["sparsevlm", count] for count in kept} == kept


def test_positions_are_the_authors():
    for (name, _), one in ALL.items():
        kept = name in ("fastv", "sparsevlm-v2", "dart", "vtw", "v2drop", "nuwa", "flowcut")
        assert {site.positions for site in one.operator.sites} == {"keep" if kept else "renumber"}


@pytest.mark.parametrize("key", [key for key, (stages, *_) in FIGURES.items() if len(stages) == 1])
def test_the_same_mean_builds_the_same_operator(key):
    """What is built for a published mean at the published layers is what is published."""
    one = ALL[key]
    layer = one.operator.sites[0].layer
    knobs = {"layer": layer} if key[0] in ("fastv", "dart") else {}
    built = DESIGNS[key[0]].build(LLAVA, one.operator.mean_tokens, **knobs)
    assert built.counts == one.operator.counts
    assert built.sites == one.operator.sites


def test_the_table_shows_them_all(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    module.main()
    shown = capsys.readouterr().out
    assert all(len(line) <= 100 for line in shown.splitlines()[:-1])
    assert len([line for line in shown.splitlines() if "authors" in line]) == len(ALL)
    assert "no counts published: random" in shown


def test_flops_of_the_literature_count_visual_tokens_alone_unless_told():
    operator = OperatorSpec(target=LLAVA)
    one = 2 * 4096 * (4 * 4096 + 3 * 11008)  # a token through the projections of a layer, a multiply-add as 2
    layers = 32 * (576 * one + 4 * 4096 * 576**2)
    assert tera(operator) == tera(operator, 0) == pytest.approx(layers / 2 / 1e12)
    longer = 32 * (600 * one + 4 * 4096 * 600**2)
    assert tera(operator, 24) == pytest.approx(longer / 2 / 1e12)
