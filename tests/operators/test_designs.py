"""Every registered design: it builds at any depth, grid and mean, it is of its regime, it runs, its knobs hold."""

import inspect
import io
import math

import pytest
import torch
from rich.console import Console

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import DESIGNS, LLAVA, get_design, suited
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import ALL_FEATURES, OperatorSpec, Target
from eos_platform.operators.tokens import Tokens
from eos_platform.terminal.tables import designs_table

TARGET = Target(layers=8, grid=(6, 8), vision_layers=4)
TARGETS = [
    TARGET,
    LLAVA,
    Target(layers=40, grid=(7, 5), vision_layers=26),
    Target(layers=3, grid=(1, 9), vision_layers=2),
    Target(layers=2, grid=(3, 5), vision_layers=3),
    Target(layers=1, grid=(1, 2), vision_layers=2),
    Target(layers=1, grid=(1, 1), vision_layers=2),
    Target(layers=2, grid=(1, 1)),
]
FREE = [name for name, design in DESIGNS.items() if not design.fixed and not design.films]
FIXED = [name for name, design in DESIGNS.items() if design.fixed]


def given(stage, b, n, width=8, seed=0):
    """All that a model may say of n tokens at a site."""
    draw = torch.Generator().manual_seed(1000 * seed + stage)
    found = {name: torch.rand(b, n, generator=draw) for name in ALL_FEATURES}
    found["keys"] = torch.randn(b, n, 6, generator=draw)
    found["padding"] = torch.arange(n).expand(b, n).lt(n // 4).float()
    found["text_pivots"] = torch.randn(b, 4, width, generator=draw)
    found["text_rows"] = torch.randn(b, 5, width, generator=draw)
    return found


def run(operator, x, rows=slice(None)):
    tokens = Tokens.of(x[rows])
    for stage, site in enumerate(operator.sites):
        said = given(stage, x.shape[0], tokens.x_bnd.shape[1], x.shape[2])
        tokens = reduce(site, tokens, {k: v[rows] for k, v in said.items()}, operator.target.grid).tokens
    return tokens


def picture(operator, b=2, width=8):
    return torch.randn(b, operator.arriving, width, generator=torch.Generator().manual_seed(0))


def test_the_list_takes_a_line_each():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(designs_table(DESIGNS))
    lines = console.export_text().splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(DESIGNS)
    for line, design in zip(lines[1:], DESIGNS.values(), strict=True):
        assert all(text in line for text in (design.regime, design.source, design.summary))


def means(target):
    """Whole and fractional means from one token to all but a little."""
    n = target.tokens
    whole = range(1, n) if n < 100 else (1, 2, 3, 5, 16, 17, 63, 64, 100, 128, 191, 192, 288, 400, 575)
    parts = [1.3, 0.37 * n, 0.61 * n + 0.1, n - 0.4, n - 1 / 64]
    return sorted({float(mean) for mean in (*whole, *parts) if 1 <= mean < n})


def test_the_registry_is_whole():
    names = (
        "random stride pool adaptive-pool downsample zero reweight tome tome-tower fastv prumerge prumerge+ sparsevlm"
        " sparsevlm-v2 pyramiddrop vtw diffrate visionzip vispruner divprune dart cdpruner fastervlm cen-divprune"
        " cen-cdpruner scope mmtok tops holov v2drop zoo-prune nuwa prunesid d2pruner adaptinfer flowcut todre"
        " whole-frames evs vidcom2 dycoke framefusion fastvid prunevid holitom"
    )
    assert list(DESIGNS) == names.split()
    for name, design in DESIGNS.items():
        assert design.name == name
        written = inspect.getmodule(design.make).__doc__
        assert "\nSource: " in written
        assert "\nParameters" in written
        if "arXiv " in design.source:
            assert design.source.split("arXiv ")[1] in written


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.layers}x{target.grid}")
def test_every_mean_builds_and_is_used_up(name, target):
    design, built = DESIGNS[name], []
    for tokens in means(target):
        operator = design.build(target, tokens)
        built.append(operator.mean_tokens)
        assert operator.mean_tokens <= tokens
        if not design.coarse:
            assert operator.mean_tokens > tokens - 1
        elif name == "vtw":
            assert operator.mean_tokens > tokens - target.tokens / target.layers
        assert operator.regime == design.regime
        assert OperatorSpec.from_json(operator.to_json()) == operator
        assert operator.provenance == {"design": name}
        assert all(site.keep < n for site, n in zip(operator.sites, operator.incoming, strict=True))
    assert built == sorted(built)
    everything = design.build(target, target.tokens)
    assert (everything.sites, everything.image, everything.regime) == ((), None, "identity")


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("tokens", [1, 5.4, 12, 29.5, 47])
def test_runs_and_leaves_the_tokens_it_says(name, tokens):
    operator = DESIGNS[name].build(TARGET, tokens)
    x = picture(operator)
    left = run(operator, x)
    assert left.x_bnd.shape == (2, operator.tokens_left, 8)
    assert left.x_bnd.isfinite().all()
    assert (left.origin_bn.diff(dim=-1) > 0).all()
    if operator.regime == "prune":
        assert torch.equal(left.x_bnd, x.take_along_dim(left.origin_bn[..., None], 1))
    if name in ("tome", "tome-tower", "pool", "visionzip"):  # nothing is lost
        torch.testing.assert_close(left.size_bn.sum(-1), torch.full((2,), 48.0))
    for row in range(2):
        alone = run(operator, x, slice(row, row + 1))
        assert torch.equal(alone.origin_bn[0], left.origin_bn[row])
        torch.testing.assert_close(alone.x_bnd[0], left.x_bnd[row])


@pytest.mark.parametrize("name", [name for name in FREE if name != "vtw"])
def test_runs_at_the_size_of_llava(name):
    operator = DESIGNS[name].build(LLAVA, 100)
    assert run(operator, picture(operator, 1, 16)).x_bnd.shape == (1, operator.tokens_left, 16)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.layers}x{target.grid}")
def test_designs_of_one_compute(target):
    assert len(FIXED) == 2
    for tokens in (0, 1, target.tokens):
        assert DESIGNS["zero"].build(target, tokens).counts == (0,) * target.layers
    operator = DESIGNS["reweight"].build(target, target.tokens)
    assert operator.counts == (target.tokens,) * target.layers
    assert operator.regime == "reweight"
    assert run(operator, picture(operator)).x_bnd.isfinite().all()


@pytest.mark.parametrize("name", suited())
@pytest.mark.parametrize("target", [TARGET, LLAVA, TARGETS[2], TARGETS[4]], ids=lambda target: f"{target.layers}")
def test_every_value_of_a_knob_builds_and_runs(name, target):
    design = DESIGNS[name]
    for knob in design.knobs(target):
        assert knob.checked(knob.default) == knob.default
        for value in knob.choices or (knob.low, (knob.low + knob.high) / 2, knob.high):
            value = type(knob.default)(value)
            for tokens in (2, 0.3 * target.tokens, target.tokens - 1):
                tokens = target.tokens if design.fixed else tokens
                operator = design.build(target, tokens, **{knob.name: value})
                assert operator.mean_tokens <= tokens
                assert operator.provenance == {"design": name, "knobs": {knob.name: value}}
                assert OperatorSpec.from_json(operator.to_json()) == operator
                if target.tokens < 100:
                    assert run(operator, picture(operator)).x_bnd.isfinite().all()
        if knob.name == "positions":
            kept = {site.positions for site in design.build(target, 12, positions="keep").sites}
            assert kept == {"keep"}


def test_authors_and_controls_number_positions_as_they_do():
    default = {
        name: knob.default for name in suited() for knob in DESIGNS[name].knobs(LLAVA) if knob.name == "positions"
    }
    kept = {"random", "stride", "pool", "adaptive-pool", "tome", "fastv", "sparsevlm-v2", "dart", "nuwa", "v2drop"}
    kept.add("d2pruner")
    assert {name for name, positions in default.items() if positions == "keep"} == kept
    assert set(default) == set(suited()) - {
        "downsample",
        "zero",
        "reweight",
        "tome-tower",
        "diffrate",
        "vtw",
        "flowcut",
    }


def test_bad_requests_are_refused():
    with pytest.raises(EosError, match="unknown design 'fastvv'; did you mean 'fastv'"):
        get_design("fastvv")
    with pytest.raises(EosError, match=r"design 'pool': cannot leave a mean of 0\.5 visual tokens; 1 is the fewest"):
        get_design("pool").build(TARGET, 0.5)
    with pytest.raises(EosError, match="design 'fastv': unknown knob 'layr'; did you mean 'layer'"):
        get_design("fastv").build(TARGET, 5, layr=8)
    with pytest.raises(EosError, match="design 'fastv': knob 'layer' is a whole number from 0 to 4, not 5"):
        get_design("fastv").build(TARGET, 5, layer=5)
    with pytest.raises(EosError, match=r"knob 'layer' is a whole number from 0 to 4, not 1\.5"):
        get_design("fastv").build(TARGET, 5, layer=1.5)
    with pytest.raises(EosError, match="knob 'positions' is keep or renumber, not 'move'"):
        get_design("fastv").build(TARGET, 5, positions="move")
    with pytest.raises(EosError, match=r"knob 'contextual' is a number from 0\.02 to 0\.9, not nan"):
        get_design("visionzip").build(TARGET, 5, contextual=math.nan)
    with pytest.raises(EosError, match="knob 'summary' is True or False, not 1"):
        get_design("prumerge").build(TARGET, 5, summary=1)
    with pytest.raises(EosError, match="a mean of nan visual tokens cannot be"):
        get_design("pool").build(TARGET, math.nan)
    with pytest.raises(EosError, match="design 'reweight': keeps all 48 tokens, so it cannot be built for 12"):
        get_design("reweight").build(TARGET, 12)
    for name in ("tome-tower", "diffrate"):
        with pytest.raises(EosError, match="the target knows of none"):
            get_design(name).build(Target(layers=8, grid=(6, 8)), 12)


@pytest.mark.parametrize("name", ["tome", "tome-tower"])
def test_tome_keeps_the_mean_of_all_tokens(name):
    operator = get_design(name).build(TARGET, 7)
    x = picture(operator).double()
    tokens = run(operator, x)
    mean = (tokens.x_bnd * tokens.size_bn[..., None]).sum(1) / tokens.size_bn.sum(1, keepdim=True)
    torch.testing.assert_close(mean, x.mean(1), check_dtype=False)
