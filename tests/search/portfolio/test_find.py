"""A portfolio of starts: what is tried, what is dropped, and that the best design is never better."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from eos_platform.common.errors import EosError
from eos_platform.costs.match import match
from eos_platform.operators.designs import get_design
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import flops_cost
from eos_platform.search.discretise import impossible
from eos_platform.search.portfolio import find as finding
from eos_platform.search.portfolio.candidates import first_look, variants
from eos_platform.search.portfolio.find import find, planned_steps
from eos_platform.search.portfolio.guard import ahead
from eos_platform.search.portfolio.judge import Judge, detectable
from eos_platform.search.portfolio.local import improved, neighbours
from eos_platform.search.portfolio.race import Race, Racer
from eos_platform.search.run import search
from eos_platform.tasks import evaluate


@pytest.fixture
def quick(monkeypatch) -> SearchConfig:
    monkeypatch.setattr(finding, "LOOK", 32)
    monkeypatch.setattr(finding, "JUDGED", 48)
    monkeypatch.setattr(finding, "WALK", 3)
    return SearchConfig(budget=0.2, steps=6, batch_size=4, search_questions=64, eval_questions=96)


def test_off_it_is_the_search_itself(small, tiny):
    off = tiny.model_copy(update={"portfolio": False, "steps": 4, "eval_questions": 16})
    assert find(small, off).operator.sites == search(small, off).operator.sites
    assert planned_steps(off) == 4


@pytest.mark.slow  # seven short searches
def test_the_result_is_not_behind_any_design_on_the_questions_of_the_guard(small, quick):
    config = quick.model_copy(update={"portfolio": ("default", "pairs", "tome", "fastv")})
    steps = []
    result = find(small, config, report=lambda step, curves: steps.append(step))
    assert result.compute_ratio <= 0.2
    assert result.trail["look"][0]["design"] == "tome"
    starts = [row["start"] for row in result.trail["race"] if row["round"] == 1]
    assert starts == ["default", "pairs", "tome", "fastv"]
    assert len([row for row in result.trail["race"] if row["round"] == 2]) == 2
    judge = Judge(small, 96, 48)
    looked = first_look(small, config, flops_cost(small), judge, 32, ["tome", "fastv"])
    assert not ahead(looked, judge, result.operator)
    assert any("detectable difference" in remark for remark in result.remarks)
    assert steps == sorted(steps)
    assert result.operator.provenance["start"] in {"default", "pairs", "tome", "fastv"}


def test_a_start_that_is_none_is_refused(small, quick):
    with pytest.raises(EosError, match="did you mean"):
        find(small, quick.model_copy(update={"portfolio": ("default", "tomee")}))


@pytest.fixture
def race():
    """Of four starts, the later ones better; a search of those in ``too_dear`` cannot meet the budget."""

    def run(too_dear: Callable[[str, str], bool]) -> tuple[list[str], Race]:
        def searched(racer: Racer, config: SearchConfig, stage: str) -> Any:
            if too_dear(racer.name, stage):
                raise impossible(0.1, 0.104)
            return SimpleNamespace(operator=racer.name, parameters={})

        judge = SimpleNamespace(verdict=lambda name: SimpleNamespace(loss=-float(name), accuracy=0.5))
        racers = [Racer(name, structure=None) for name in "1234"]  # type: ignore[arg-type]
        race = Race(racers, SearchConfig(steps=60), searched, judge)  # type: ignore[arg-type]
        return [racer.name for racer in race.run()], race

    return run


def test_a_start_that_cannot_meet_the_budget_leaves_the_race_to_the_others(race):
    assert race(lambda name, stage: False)[0] == ["4", "3"]
    ranking, run = race(lambda name, stage: name == "4")
    assert ranking == ["3", "2", "1"]
    assert "budget 0.1 is impossible" in next(row["refused"] for row in run.told if row["start"] == "4")
    assert race(lambda name, stage: name == "4" and stage == "round-2")[0] == ["3"]
    with pytest.raises(EosError, match=r"budget 0\.1 is impossible"):
        race(lambda name, stage: True)


def test_the_judge_asks_questions_that_the_reported_accuracy_does_not(small):
    judge = Judge(small, 96, 32)
    assert (judge.first, judge.questions, judge.fresh) == (96, 32, True)
    operator = match("tome", 0.3, small.target, small.shape, small.text_tokens)
    verdict = judge.verdict(operator)
    assert verdict.right_q.tolist() == evaluate(small, operator, "validation", 128).correct[96:].tolist()
    assert detectable(verdict, judge.verdict(None)) > 0


def test_neighbours_keep_to_the_budget_and_a_walk_never_loses(small):
    operator = match("tome", 0.2, small.target, small.shape, small.text_tokens)
    cost = flops_cost(small)
    found = dict(neighbours(operator, cost.deployed, 0.2))
    assert found
    assert all(cost.deployed(one) <= 0.2 for one in found.values())
    assert any(name.startswith("positions") for name in found)
    judge = Judge(small, 96, 32)
    better, taken = improved(small, operator, cost.deployed, 0.2, judge, 3)
    assert judge.verdict(better).loss <= judge.verdict(operator).loss
    assert bool(taken) == (better != operator)


def test_sets_of_knobs_differ_from_the_published_one(small):
    design = get_design("visionzip")
    sets = list(variants(design, small.target, 0, 6))
    published = {knob.name: knob.default for knob in design.knobs(small.target)}
    assert len(sets) == 6
    assert published not in sets
    assert sets == list(variants(design, small.target, 0, 6))
