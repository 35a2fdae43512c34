"""An operator looked into: words, ablations, shares of the score, the nearest design."""

import json
import math

import pytest
import torch

from eos_platform.analysis.explain.ablations import ablations
from eos_platform.analysis.explain.describe import site_words
from eos_platform.analysis.explain.explain import explain, model_of
from eos_platform.analysis.explain.nearest import AXES, distances, nearest
from eos_platform.analysis.explain.progress import PARTS
from eos_platform.analysis.explain.ranking import ranking, shares
from eos_platform.analysis.explain.report import markdown, ranking_line
from eos_platform.cli.explain import _page
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.match import match
from eos_platform.models.attention.text_queries import question
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.reduce import probed
from eos_platform.operators.score import combine, norm_feature, uniqueness_feature
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target, Transfer
from eos_platform.tasks import evaluate

PROBE = tuple(math.sin(number) for number in range(192))


def site(**fields):
    return SiteSpec(**{"layer": 0, "keep": 20, "score": {"norm": 1.0}} | fields)


def searched(target, width):
    first = site(
        selector="diverse_topk",
        spread=1.5,
        score={"norm": 0.5, "uniqueness": -0.3},
        probe=PROBE[:width],
        transfer=Transfer(gamma=0.9, tau=0.05, nu=0.9),
        beta=0.8,
    )
    last = site(layer=4, keep=12, score={"last_text": 1.0}, rho=0.2)
    return OperatorSpec(name="searched", target=target, sites=(first, last))


@pytest.fixture(scope="module")
def operator(small):
    return searched(small.target, small.shape.hidden)


# Words


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ("dropped tokens are discarded (gamma 0)", "prune: what is dropped is lost")),
        (
            {"transfer": Transfer(gamma=1.0, tau=0.0, nu=1.0), "beta": 1.0},
            (
                "dropped tokens are merged into their most similar kept token (tau 0), averaged (nu 1)",
                "merge:",
                "(beta)",
            ),
        ),
        ({"transfer": Transfer(gamma=1.0, tau=math.inf, nu=0.0)}, ("spread evenly", "summed (nu 0)", "pool:")),
        (
            {"transfer": Transfer(gamma=0.5, tau=0.1)},
            ("50% of what they hold (gamma 0.5)", "hybrid: gamma 0.5 is between", "tau 0.1 between merging"),
        ),
        ({"keep": 144, "rho": 0.3}, ("reweight: keeps every token",)),
        ({"keep": 144}, ("identity: keeps every token unchanged",)),
        ({"keep": 0, "selector": "drop_all"}, ("keeps none", "prune")),
        ({"positions": "renumber"}, ("positions are renumbered",)),
    ],
)
def test_a_site_in_words(fields, said):
    operator = OperatorSpec(target=Target(layers=6, grid=(12, 12)), sites=(site(**fields),))
    reported = "\n".join(site_words(operator, 0))
    for words in said:
        assert words in reported


def test_beta_is_not_told_where_every_token_stands_for_one():
    operator = OperatorSpec(target=Target(layers=6, grid=(12, 12)), sites=(site(beta=1.0),))
    assert "beta" not in " ".join(site_words(operator, 0))


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_has_words_and_ablations_and_is_nearest_to_itself(name, small):
    shape, text = small.shape, small.text_tokens
    target = small.target.model_copy(update={"frames": 4 if DESIGNS[name].films else 1})
    operator = match(name, 1.1 if name == "reweight" else 0.3, target, shape, text)
    for number in range(len(operator.sites)):
        assert all(site_words(operator, number))
    assert ablations(operator)
    found = nearest(operator, compute_ratio(operator, shape, text), target, shape, text)
    assert found[0].distance == 0
    assert name in [near.design for near in found if near.distance == 0]
    for near in found:
        assert all(0 <= near.axes[axis] <= 1 for axis in AXES)
        assert near.axes == pytest.approx(distances(near.operator, operator))


# Ablations


def changed(operator):
    return {ablation.name: ablation for ablation in ablations(operator)}


def test_one_thing_changes_in_each(operator):
    found = changed(operator)
    for name in (
        *("probe off, site 1", "norm off, site 1", "uniqueness off, site 1", "all features off, site 1"),
        *("spread 0 (score only), site 1", "selector farthest, site 1", "gamma 0 (pruning), site 1"),
        *("tau 0 (merging), site 1", "tau inf (pooling), site 1", "nu 0 (summed), site 1", "nu 1 (averaged), site 1"),
        *("beta 0, site 1", "beta 1, site 1", "beta 1, site 2", "positions renumber, site 1", "rho 0, site 2"),
        *("site removed, site 1", "site removed, site 2", "selector farthest, site 2"),
    ):
        assert name in found
    assert "gamma 0 (pruning), site 2" not in found  # it is that already
    assert "last_text off, site 2" not in found  # nothing would be left to rank by
    assert len({ablation.operator.to_json() for ablation in found.values()}) == len(found)
    assert found["gamma 0 (pruning), site 1"].operator.sites[0] == operator.sites[0].model_copy(
        update={"transfer": operator.sites[0].transfer.model_copy(update={"gamma": 0.0})}
    )
    assert found["gamma 0 (pruning), site 1"].was == "0.9"
    assert found["site removed, site 1"].operator.sites == operator.sites[1:]
    assert found["probe off, site 1"].operator.sites[1] == operator.sites[1]


def test_nothing_to_change_in_an_identity(small):
    assert ablations(OperatorSpec(target=small.target)) == []


def test_many_sites_are_changed_together_and_removed_one_by_one():
    sites = tuple(site(layer=layer, keep=100 - 10 * layer) for layer in range(5))
    found = changed(OperatorSpec(target=Target(layers=6, grid=(12, 12)), sites=sites))
    together = found["gamma 1, tau 0 (merging), all sites"].operator
    assert {one.transfer.gamma for one in together.sites} == {1.0}
    assert [name for name in found if name.startswith("site removed")] == [
        f"site removed, site {number}" for number in range(1, 6)
    ]


def test_a_shrunk_picture_can_be_left_whole(small):
    operator = match("downsample", 0.3, small.target, small.shape, small.text_tokens)
    (whole,) = ablations(operator)
    assert (whole.name, whole.operator.image) == ("picture not shrunk", None)


# Scores


def test_shares_are_covariances_and_add_up():
    parts_pbn = torch.tensor([[[1.0, -1.0, 0.0, 0.0]], [[0.0, 0.0, 3.0, -3.0]]])
    assert shares(parts_pbn)[:, 0].tolist() == pytest.approx([0.1, 0.9])
    assert shares(torch.ones(2, 1, 4)).tolist() == [[0.0], [0.0]]
    assert shares(torch.randn(3, 5, 9)).sum(0).tolist() == pytest.approx([1.0] * 5, abs=1e-5)


def test_ranking_is_that_of_the_tokens_that_arrive(small, operator):
    encoded = small.encoded("validation", 8)
    found = ranking(small.model, operator, encoded, 8)
    assert list(found[0]) == ["norm", "uniqueness", "probe"]
    assert found[1] == {"last_text": 1.0}
    x_bnd = encoded.batch(torch.arange(8)).x_bsd[:, 1:145]
    features = {"norm": norm_feature(x_bnd), "uniqueness": uniqueness_feature(x_bnd)}
    parts = [weight * combine(features, {name: 1.0}) for name, weight in operator.sites[0].score.items()]
    parts.append(probed(operator.sites[0], x_bnd))
    expected = shares(torch.stack(parts)).mean(1).tolist()
    assert list(found[0].values()) == pytest.approx(expected, abs=1e-4)


def test_ranking_is_of_the_probe_as_each_question_turns_it(small, operator):
    width = small.shape.hidden
    steering = Steering.of(*torch.randn(2, 3, width, generator=torch.Generator().manual_seed(0)))
    sites = [site.model_dump() for site in operator.sites]
    sites[0] |= {"steering": steering, "probe": (0.0,) * width}  # all of the direction is the question's
    turned = OperatorSpec.model_validate(operator.model_dump() | {"sites": sites})
    encoded = small.encoded("validation", 8)
    found = ranking(small.model, turned, encoded, 8)
    assert list(found[0]) == ["norm", "uniqueness", "probe"]
    batch = encoded.batch(torch.arange(8))
    x_bnd = batch.x_bsd[:, 1:145]
    features = {"norm": norm_feature(x_bnd), "uniqueness": uniqueness_feature(x_bnd)}
    parts = [weight * combine(features, {name: 1.0}) for name, weight in operator.sites[0].score.items()]
    parts.append(probed(turned.sites[0], x_bnd, question(batch.x_bsd, batch.layout.text_bs)))
    assert list(found[0].values()) == pytest.approx(shares(torch.stack(parts)).mean(1).tolist(), abs=1e-4)
    names = {one.name for one in ablations(turned)}
    assert "steering off, site 1" in names
    assert "steering off, site 2" not in names
    line = ranking_line(explain(small, turned, questions=4, pictures=0).sites[0])
    assert "(length 0.00, changed by the question)" in line


# All of it


@pytest.fixture(scope="module")
def found(small, operator):
    return explain(small, operator, questions=24, pictures=2)


def test_differences_are_those_of_deployed_evaluations(small, operator, found):
    frame = found.ablations
    assert frame["difference"].is_monotonic_increasing
    base = evaluate(small, operator, "validation", 24).accuracy
    assert found.accuracy == base
    row = frame[frame["name"] == "gamma 0 (pruning), site 1"].iloc[0]
    other = evaluate(small, changed(operator)[row["name"]].operator, "validation", 24).accuracy
    assert row["difference"] == pytest.approx(other - base)
    assert row["low"] <= row["difference"] <= row["high"]
    removed = frame[frame["name"] == "site removed, site 1"].iloc[0]
    assert not removed["matched"]
    assert removed["compute_ratio"] > found.compute_ratio


def test_it_is_plain_data_and_markdown(found):
    text = markdown(found)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["tokens_entering_each_layer"] == [20, 20, 20, 20, 12, 12]
    assert len(data["ablations"]) == len(found.ablations)
    assert data["nearest_designs"][0]["design"] == found.nearest[0].design
    for words in (
        "## Site 1, before the language model: 144 -> 20 tokens",
        "of the score's variance the probe",
        "visionzip",
    ):
        assert words in text
    assert "(weight -0.30)" in ranking_line(found.sites[0])


def test_pictures_show_what_each_site_keeps(found):
    assert [[len(one["origin"]) for one in sites] for sites in found.kept] == [[20, 12]] * 2


def test_a_question_that_turns_the_probe_is_shown_at_work(small):
    width = small.shape.hidden
    matrices = torch.randn(2, 4, width, generator=torch.Generator().manual_seed(1))
    site = SiteSpec(layer=0, keep=12, probe=(0.01,) * width, steering=Steering.of(*matrices))
    operator = OperatorSpec(target=small.target, sites=(site,))
    found = explain(small, operator, questions=8, pictures=1)
    assert len({question["png"] for question in found.asked}) == 1
    assert len({question["text"] for question in found.asked}) == len(found.asked) == len(found.kept_asked) == 5
    assert len({tuple(sites[-1]["origin"]) for sites in found.kept_asked}) > 1
    assert {type(question["right"]) for question in found.asked} == {bool}
    assert "steering off" in set(found.ablations["name"])
    assert any("the question changes the learned direction" in words for words in found.sites[0]["words"])
    assert _page(found).count("The question decides which tokens are kept") > 0


def test_a_steered_site_that_keeps_every_token_has_no_picture(small):
    width = small.shape.hidden
    steering = Steering.of(*torch.ones(2, 2, width))
    site = SiteSpec(layer=0, keep=small.target.tokens, probe=(0.1,) * width, steering=steering)
    found = explain(small, OperatorSpec(target=small.target, sites=(site,)), questions=4, pictures=1)
    assert "The question decides" not in _page(found)


def test_an_operator_of_no_sites(small):
    reported = []
    found = explain(
        small,
        OperatorSpec(target=small.target),
        questions=4,
        advance=lambda done, total, what: reported.append((done, total, what)),
    )
    assert (found.sites, found.nearest, len(found.ablations)) == ([], [], 0)
    assert found.accuracy == found.unreduced_accuracy
    assert "identity: no site" in markdown(found)
    done = [part for part, *_ in reported]
    assert done == sorted(done)
    assert done[0] == 0
    assert reported[-1] == (PARTS, PARTS, "")
    # before the batch of a measurement, and after it
    assert [what for *_, what in reported[:-1]] == [
        *["the unreduced model"] * 2,
        *["the operator"] * 2,
        "scores and pictures",
    ]


@pytest.mark.parametrize("name", ["tome-tower", "downsample", "vtw", "reweight"])
def test_tower_sites_shrunk_pictures_and_withdrawal(name, small):
    ratio = 1.1 if name == "reweight" else 0.3
    operator = match(name, ratio, small.target, small.shape, small.text_tokens)
    found = explain(small, operator, questions=4, pictures=1)
    assert found.nearest[0].distance == 0
    assert len(found.ablations) > 0
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_model_an_operator_names(tmp_path):
    def named(model="", grid=(12, 12)):
        return OperatorSpec(target=Target(layers=6, grid=grid, model=model))

    assert model_of(named("bundled-small")) == "bundled-small"
    assert model_of(named(model=str(tmp_path))) == str(tmp_path)
    assert model_of(named(grid=(24, 24))) == "bundled"
    reported = OperatorSpec(target=Target(layers=6, grid=(12, 12)), provenance={"model": "bundled"})
    assert model_of(reported) == "bundled"
    assert model_of(named()) == "bundled-small"
    assert model_of(named(grid=(9, 9))) == "bundled"
    with pytest.raises(EosError, match=r"is for the model 'LLaVA', which is neither .* with --model"):
        model_of(named("LLaVA"))


def test_bad_input(small):
    with pytest.raises(EosError, match="questions must be at least 1"):
        explain(small, OperatorSpec(target=small.target), questions=0)
    with pytest.raises(EosError, match="24x24 grid"):
        explain(small, OperatorSpec(target=Target(layers=6, grid=(24, 24))), questions=4)
