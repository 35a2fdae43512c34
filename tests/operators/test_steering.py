"""A question that turns a probe: how it is written down, and what it does to a site."""

import base64
import json
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import features_of, given_of, tokens_of

from eos_platform.common.errors import EosError
from eos_platform.operators.reduce import needed, reduce
from eos_platform.operators.relaxed.relax import relax
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target, Transfer
from eos_platform.operators.steer import steered
from eos_platform.operators.tokens import RelaxedTokens, Tokens, gather_tokens

GRID, N, D = (5, 8), 40, 6
PROBE = (1.0, -0.5, 0.25, 0.0, 0.75, -1.0)


def matrices(rank=3, width=D, seed=0):
    return torch.randn(2, rank, width, generator=torch.Generator().manual_seed(seed))


def spec(selector="diverse_topk", **changes):
    values = {
        "layer": 0,
        "keep": 9,
        "selector": selector,
        "score": {"uniqueness": -0.4},
        "probe": PROBE,
        "steering": Steering.of(*matrices()),
        "spread": 0.7 if selector == "diverse_topk" else 0.0,
        "transfer": Transfer(gamma=0.8, tau=0.1, nu=0.7),
    }
    return SiteSpec(**(values | changes))


@settings(max_examples=50, deadline=None)
@given(rank=st.integers(1, 9), width=st.integers(1, 70), seed=st.integers(0, 1000))
def test_what_is_packed_comes_back(rank, width, seed):
    text, visual = matrices(rank, width, seed)
    packed = Steering.of(text, visual)
    assert (packed.rank, packed.width) == (rank, width)
    for before, after in zip((text, visual), packed.tensors(), strict=True):
        assert after.dtype == torch.float32
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-6)
    assert Steering.of(*packed.tensors()) == packed


def test_a_file_holds_it_and_stays_small(tmp_path):
    operator = OperatorSpec(target=Target(layers=4, grid=GRID), sites=(spec(),))
    assert OperatorSpec.load(operator.save(tmp_path / "one.json")) == operator
    wide = spec(probe=(0.1,) * 4096, steering=Steering.of(*matrices(8, 4096)))
    assert len(wide.model_dump_json()) < 250_000


def packed(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}e", *numbers)).decode()


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"text": "§"}, "text is not base64"),
        ({"visual": ""}, "visual does not hold 2 rows"),
        ({"text": packed(1, 2, 3)}, "text does not hold 2 rows"),
        ({"visual": packed(1, 2, 3, 4, 5, float("nan"))}, "visual holds numbers that are not finite"),
        ({"text": packed(1, 2, 3, 4)}, "text and visual differ in width"),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"rnak": 2}, "did you mean 'rank'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, wrong):
    fields = {"rank": 2, "text": packed(*range(6)), "visual": packed(*range(6))}
    operator = OperatorSpec(target=Target(layers=4, grid=GRID), sites=(spec(probe=PROBE[:3], steering=fields),))
    data = operator.model_dump(mode="json")
    data["sites"][0]["steering"] |= changes
    with pytest.raises(EosError) as error:
        OperatorSpec.from_json(json.dumps(data), "op.json")
    assert wrong.lower() in str(error.value).lower()
    assert "steering" in str(error.value)
    assert "\n" not in str(error.value)


def test_it_turns_a_probe_of_its_own_width_in_the_decoder_only():
    with pytest.raises(ValueError, match="steering of width 6 turns no probe of 0 numbers"):
        spec(probe=())
    with pytest.raises(ValueError, match="no question is known inside the vision tower"):
        spec(place="tower", layer=1)


@pytest.mark.parametrize("selector", ["diverse_topk", "score"])
def test_each_prompt_is_reduced_as_by_a_probe_of_its_own(selector):
    site, tokens, given = spec(selector), tokens_of(5, 3, N, D, GRID), given_of(5, 3, N, D)
    assert "question" in needed(site, N)
    found = reduce(site, tokens, given, GRID)
    text, visual = site.steering.tensors()
    kept = []
    for row in range(3):
        turned = torch.tensor(PROBE).double() + sum(
            visual[k].double() * float(text[k].double() @ given["question"][row]) for k in range(3)
        )
        torch.testing.assert_close(steered(torch.tensor(PROBE), text, visual, given["question"])[row], turned)
        alone = spec(selector, probe=tuple(turned.tolist()), steering=None)
        one = Tokens(*(values[row : row + 1] for values in tokens))
        expected = reduce(alone, one, {name: values[row : row + 1] for name, values in given.items()}, GRID)
        assert torch.equal(found.index_br[row], expected.index_br[0])
        torch.testing.assert_close(found.tokens.x_bnd[row], expected.tokens.x_bnd[0])
        kept.append(tuple(expected.index_br[0].tolist()))
    same = tokens._replace(x_bnd=tokens.x_bnd[:1].expand(3, -1, -1))
    assert len({tuple(row) for row in reduce(site, same, given, GRID).index_br.tolist()}) == 3  # other questions


def test_without_a_question_it_cannot_act():
    with pytest.raises(EosError, match="no question is given here"):
        reduce(spec(), tokens_of(5, 1, N, D, GRID), features_of(5, 1, N), GRID)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("candidates", [None, 20])
@pytest.mark.parametrize("selector", ["diverse_topk", "score"])
def test_relaxed_becomes_the_deployed_site(selector, hard, candidates):
    site, tokens, given = spec(selector), tokens_of(5, 3, N, D, GRID), given_of(5, 3, N, D)
    tokens = Tokens.of(tokens.x_bnd)
    temperature = 0.03 if hard else 1e-6
    out, _ = relax(
        RelaxedSite.of(site),
        RelaxedTokens.of(tokens.x_bnd),
        given,
        GRID,
        temperature=temperature,
        hard=hard,
        candidates=candidates,
    )
    found = reduce(site, tokens, given, GRID)
    places = (out.presence_bn > 0.5).nonzero()[:, 1].view(3, 9)
    assert torch.equal(gather_tokens(out.origin_bn, places), found.tokens.origin_bn)
    torch.testing.assert_close(gather_tokens(out.x_bnd, places), found.tokens.x_bnd, rtol=1e-4, atol=1e-4)


def test_gradients_reach_both_matrices():
    site, features = RelaxedSite.of(spec("score")), given_of(4, 2, N, D)
    text, visual = (matrix.double().requires_grad_() for matrix in site.steering)
    slopes = torch.linspace(0.2, 1.7, N, dtype=torch.float64)

    def function(text, visual):
        site.steering, site.count = (text, visual), site.count.double()
        given = RelaxedTokens.of(tokens_of(4, 2, N, D, GRID).x_bnd)
        out = relax(site, given, features, GRID, temperature=0.5, hard=False).tokens
        return (out.presence_bn * slopes).sum()

    assert torch.autograd.gradcheck(function, (text, visual), atol=1e-5, rtol=1e-4)


def test_what_cannot_be_packed_is_refused():
    text, visual = matrices()
    with pytest.raises(ValueError, match="visual holds numbers that are not finite"):
        Steering.of(text, visual * 1e6)
    with pytest.raises(ValueError, match=r"text \(3, 6\) and visual \(6, 3\) differ in shape"):
        Steering.of(text, visual.view(6, 3))


def test_whoever_changes_the_matrices_changes_no_operator():
    site, tokens, given = spec("score"), tokens_of(5, 2, N, D, GRID), given_of(5, 2, N, D)
    before = reduce(site, tokens, given, GRID)
    for matrix in (*site.steering.tensors(), *RelaxedSite.of(site).steering):
        matrix.zero_()
        matrix.requires_grad_()
    again = reduce(site, tokens, given, GRID)
    assert torch.equal(again.index_br, before.index_br)
    assert not again.tokens.x_bnd.requires_grad
