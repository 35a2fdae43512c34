"""Warm starts: what earlier studies, operator files and designs give a study to begin with."""

import engine_fakes
import optuna
import pytest
import stopping_fakes as fakes
import torch
from engine_fakes import SHAPE, TARGET, study_file
from optuna.trial import TrialState
from rich.console import Console

from eos_platform.common.errors import EosError
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.strategy import warm_start
from eos_platform.engine.strategy.start_from import nearest, parameters_of, texts
from eos_platform.engine.study import Study
from eos_platform.engine.trial import Facts
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import to_operator
from eos_platform.search.parameters import Parameters

FACTS = Facts("fake", TARGET, SHAPE, 30)
SPACE = {"budget": {"float": [0.1, 0.5]}, "learning_rate": {"float": [0.01, 0.4]}}


def searched(keep, **site):
    return OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=keep, **{"score": {"norm": 1.0}, **site}),))


def new_store():
    return optuna.create_study(directions=store.DIRECTIONS)


def test_what_is_begun_with_is_spread_fits_the_space_and_is_queued_once():
    study = study_file(space=SPACE, trials=6, warm_start={"designs": ["fastv"]})
    fields = [{"budget": 0.1 * n, "learning_rate": 0.3, "steps": 9} for n in range(1, 6)]
    found = [warm_start.Origin(f"old, trial {n}", one, None) for n, one in enumerate(fields)]
    found += [
        warm_start.Origin("too small", {"budget": 0.05, "learning_rate": 0.1}, None),
        warm_start.Origin("no such rate", {"budget": 0.2, "learning_rate": 9.0}, None),
    ]
    optuna_study = new_store()
    assert warm_start.begin(optuna_study, study, found) == 3
    queued = [trial.system_attrs["fixed_params"] for trial in optuna_study.trials]
    assert [params["budget"] for params in queued] == pytest.approx([0.1, 0.2, 0.5])
    assert all(set(params) <= {"budget", "learning_rate"} for params in queued)
    assert [trial.user_attrs["warm_start"] for trial in optuna_study.trials] == [
        "old, trial 0",
        "no such rate",
        "old, trial 4",
    ]
    assert warm_start.begin(optuna_study, study, found) == 0, "a resume queues nothing again"
    assert len(optuna_study.trials) == 3


def test_no_more_is_queued_than_the_study_has_room_for():
    study = study_file(space=SPACE, trials=2, warm_start={"designs": ["fastv"], "max_searches": 5})
    found = [warm_start.Origin(str(n), {"budget": 0.1 * n}, None) for n in range(1, 6)]
    optuna_study = new_store()
    assert warm_start.begin(optuna_study, study, found) == 2


def test_designs_give_the_compute_their_authors_published(tmp_path):
    study = study_file(space=SPACE, warm_start={"designs": ["fastv", "visionzip"]})
    found = warm_start.origins(study, tmp_path, FACTS)
    assert {origin.name.split(" at ")[0] for origin in found} == {"fastv", "visionzip"}
    for origin in found:
        assert origin.fields == {"budget": pytest.approx(origin.fields["budget"])}
        assert origin.operator is not None
        assert 0 < origin.fields["budget"] < 1
    tokens = [origin.operator.mean_tokens for origin in found if origin.name.startswith("visionzip")]
    assert tokens == sorted(tokens)


def test_operator_files_give_their_searchs_settings_or_their_compute(tmp_path):
    plain, found = searched(100), searched(60)
    found = found.model_copy(update={"provenance": {"search": {"budget": 0.3, "learning_rate": 0.2}}})
    paths = [str(one.save(tmp_path / f"{name}.json")) for name, one in (("plain", plain), ("found", found))]
    study = study_file(space=SPACE, warm_start={"operators": paths, "parameters": True})
    origins = warm_start.origins(study, tmp_path, FACTS)
    assert list(origins[0].fields) == ["budget"]
    assert origins[1].fields == {"budget": 0.3, "learning_rate": 0.2}
    assert [OperatorSpec.from_json(text).sites for text in warm_start.starts(study, origins)] == [
        plain.sites,
        found.sites,
    ]
    assert warm_start.starts(study_file(space=SPACE), origins) == ()


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"studies": "quikstart"}, "warm_start.studies: unknown study 'quikstart'; did you mean 'quickstart'"),
        ({"studies": "quickstart"}, "warm_start.studies: study 'quickstart' has not been run"),
        ({"operators": "nowhere.json"}, "warm_start.operators: .*nowhere.json"),
        ({"designs": "fastvv"}, "warm_start.designs: unknown design 'fastvv'; did you mean 'fastv'"),
        ({"designs": "random"}, "warm_start.designs: its authors gave 'random' no number of tokens"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_written(tmp_path, plan, says):
    study = study_file(space=SPACE, warm_start=plan)
    with pytest.raises(EosError, match=says):
        Study(study, runs=tmp_path / "runs", functions=fakes.FUNCTIONS).run()
    assert not (tmp_path / "runs").exists()


def test_bad_plans():
    with pytest.raises(EosError, match="warm_start: parameters: there are no studies"):
        study_file(warm_start={"parameters": True})
    with pytest.raises(EosError, match=r"unknown key 'warm_start.desings'; did you mean 'designs'"):
        study_file(warm_start={"desings": ["fastv"]})
    with pytest.raises(EosError, match="a design is a budget to start with"):
        warm_start.check(study_file(space={"seed": {"int": [0, 9]}}, warm_start={"designs": ["fastv"]}), None)


@pytest.mark.parametrize("steered", [False, True])
def test_parameters_deploy_to_the_operator_they_come_from(steered):
    config = SearchConfig(layers=(0, 5))
    chance = torch.Generator().manual_seed(0)
    matrices, usual = torch.randn(2, 8, 60, generator=chance), torch.randn(60, generator=chance)
    sites = (
        SiteSpec(
            layer=0,
            keep=120,
            selector="diverse_topk",
            score={"vision": 0.6, "norm": 0.2},
            probe=tuple([0.1] * 60),
            steering=Steering.of(*matrices) if steered else None,
            spread=1.5,
            transfer=Transfer(gamma=0.8, tau=0.2, nu=0.9),
            rho=0.5,
            beta=0.7,
        ),
        SiteSpec(layer=5, keep=30, score={"last_text": 0.9, "norm": -0.3}, transfer=Transfer(gamma=0.5, tau=1.0)),
    )
    operator = OperatorSpec(target=TARGET, sites=sites)
    found = parameters_of(operator, config, TARGET, 60, usual)
    assert found is not None
    parameters = Parameters(config, TARGET, 60)
    parameters.mean_question.copy_(usual)
    for name, value in parameters.named_parameters():
        value.data.copy_(found[name])
    again = to_operator(parameters, (120, 30), TARGET, "again")
    for one, other in zip(again.sites, sites, strict=True):
        weights = [one.score.get(name, 0.0) for name in other.score]
        scale = weights[0] / next(iter(other.score.values()))
        assert weights == pytest.approx([scale * value for value in other.score.values()], rel=1e-3)
        assert one.probe == pytest.approx([scale * value for value in other.probe], rel=1e-3, abs=1e-5)
        assert (one.steering is None) == (other.steering is None)
        if one.steering and other.steering:
            for mine, theirs in zip(one.steering.tensors(), other.steering.tensors(), strict=True):
                torch.testing.assert_close(mine / mine.norm(), theirs / theirs.norm(), rtol=2e-3, atol=1e-5)
            torch.testing.assert_close(
                one.steering.tensors()[1], scale * other.steering.tensors()[1], rtol=2e-3, atol=1e-5
            )
        assert one.transfer.gamma == pytest.approx(other.transfer.gamma, abs=0.02)
        assert one.transfer.tau == pytest.approx(other.transfer.tau, rel=1e-3)
        assert (one.transfer.nu, one.beta) == pytest.approx((other.transfer.nu, other.beta), abs=0.02)
        assert one.rho == pytest.approx(other.rho, abs=0.02)
    share = float(parameters.shares()[1].detach())
    assert share == pytest.approx(30 / 120, rel=1e-3), "counts keep their proportion"


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_steering_is_taken_over_up_to_the_rank_of_the_search(rank):
    matrices = torch.randn(2, rank, 60, generator=torch.Generator().manual_seed(rank))
    site = {"selector": "diverse_topk", "probe": tuple([0.1] * 60), "steering": Steering.of(*matrices)}
    operator, config = searched(50, **site), SearchConfig(layers=(0,))
    found = parameters_of(operator, config, TARGET, 60)
    assert found is not None
    parameters = Parameters(config, TARGET, 60)
    for name, value in parameters.named_parameters():
        value.data.copy_(found[name])
    (again,) = to_operator(parameters, (50,), TARGET, "again").sites
    read, turn = again.steering.tensors()
    optuna_study, turned = operator.sites[0].steering.tensors()
    assert torch.equal(read[:rank], optuna_study)
    assert not turn[rank:].any()
    scale = again.probe[0] / 0.1
    torch.testing.assert_close(turn[:rank], scale * turned, rtol=2e-3, atol=1e-4)
    for config in (SearchConfig(layers=(0,), steering_rank=rank - 1), SearchConfig(layers=(0,), probe=False)):
        assert parameters_of(operator, config, TARGET, 60) is None


@pytest.mark.parametrize(
    "operator",
    [
        searched(50, selector="diverse_topk", similarity="keys"),
        searched(50, selector="score"),
        searched(50, selector="grid", score={}),
        OperatorSpec(target=TARGET, sites=(SiteSpec(layer=3, keep=9, score={"norm": 1.0}),)),
        OperatorSpec(target=TARGET.model_copy(update={"layers": 9}), sites=searched(50).sites),
        OperatorSpec(target=TARGET),
        searched(50, selector="diverse_topk", important=3),
        searched(50, selector="diverse_topk", probe=(0.1,) * 64, steering=Steering.of(*torch.ones(2, 9, 64))),
        searched(50, selector="diverse_topk", score={"last_text": 1.0}),
    ],
)
def test_operators_no_search_can_start_from(operator):
    assert parameters_of(operator, SearchConfig(), TARGET, 64) is None


def test_a_search_starts_from_the_operator_nearest_to_its_budget():
    operators = [searched(keep, selector="diverse_topk", spread=float(keep)) for keep in (20, 80)] + [searched(50)]
    workload = engine_fakes.load("fake", "scenes")
    for budget, spread in ((0.05, 10.0), (0.3, 10.0)):
        found = nearest(texts(operators), SearchConfig(budget=budget), workload)
        assert found is not None
        assert float(found["spread"]) == spread
    low = nearest(
        texts([searched(k, selector="diverse_topk", spread=k / 100) for k in (20, 400)]),
        SearchConfig(budget=0.7),
        workload,
    )
    assert low is not None
    assert float(low["spread"]) == pytest.approx(4.0)
    assert nearest((), SearchConfig(), workload) is None


@pytest.mark.slow  # two whole studies on a real Ray
@pytest.mark.usefixtures("ray_local")
def test_a_study_that_begins_with_anothers_front(tmp_path):
    """On Ray: the first study's front is tried first in the second, and its searches start from what it found."""
    quiet = Console(quiet=True)
    final = {"questions": 20, "baselines": []}
    common = {"space": SPACE, "concurrent": 1, "final": final, "sampler": "random"}
    first = Study(study_file(name="old", trials=3, **common), runs=tmp_path, console=quiet, functions=fakes.FUNCTIONS)
    first.run()
    with store.open_store(first.folder, create=False) as optuna_study:
        wanted = [trial.params for trial in stored.front(optuna_study)]
    plan = {"studies": "old", "max_searches": 9}
    second = Study(
        study_file(name="new", trials=4, warm_start=plan, **common),
        runs=tmp_path,
        console=quiet,
        functions=fakes.FUNCTIONS,
    )
    second.run()
    with store.open_store(second.folder, create=False) as optuna_study:
        trials = optuna_study.trials
    assert [trial.params for trial in trials[: len(wanted)]] == wanted
    assert trials[0].user_attrs["warm_start"].startswith("old, trial ")
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len(trials) == 4


def test_costs_are_asked_of_operators_whose_budget_is_not_known_and_of_no_others():
    asked = []

    def costs(operators):
        asked.append(operators)
        return [7.0 for _ in operators]

    here = OperatorSpec(name="here", target=FACTS.target)
    known = warm_start.Origin("known", {"cost": "kv_bytes", "budget": 3.0}, here)
    assert warm_start._with_budgets([known], "kv_bytes", FACTS, costs) == [known]
    assert asked == []  # measuring takes seconds
    other = warm_start.Origin("other", {"budget": 0.2, "steps": 4}, here)
    assert warm_start._with_budgets([known, other], "kv_bytes", FACTS, costs)[1].fields == {"steps": 4, "budget": 7.0}
    assert asked == [[here]]
