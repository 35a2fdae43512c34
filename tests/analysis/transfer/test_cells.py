"""Operators brought from one place to another: within the budget, deployed, asked; every way and what cannot be."""

from fractions import Fraction
from pathlib import Path

import pytest

from eos_platform.analysis.transfer import places as module
from eos_platform.analysis.transfer.fitted import fitted, rescaled, within
from eos_platform.analysis.transfer.plan import ANEW, WAYS, Settings
from eos_platform.analysis.transfer.probes import carried
from eos_platform.analysis.transfer.run import here, run, total_of
from eos_platform.analysis.transfer.store import Cells
from eos_platform.common.errors import EosError
from eos_platform.operators.designs import get_design
from eos_platform.operators.rescale import scaled
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import flops_cost
from eos_platform.search.parameters import Structure
from eos_platform.search.starts.structure import price_of, structure_at
from eos_platform.tasks import Workload, load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate

PLACES = ("bundled-small:scenes-v2", "bundled-small-v2")


@pytest.fixture(scope="module")
def loaded() -> dict[str, Subject]:
    return {name: load_workload(name.partition(":")[0], "scenes-v2", device="cpu") for name in PLACES}


@pytest.fixture(scope="module")
def matrix(loaded: dict[str, Subject], tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Every way, on two models that are asked the same questions."""
    settings = Settings.of(
        {
            "places": PLACES, "budgets": (0.35,), "ways": tuple(WAYS), "steps": 6, "adapt_steps": 4, "questions": 24,
            "search": {"batch_size": 4, "search_questions": 32, "eval_questions": 24},
        }
    )  # fmt: skip
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "load_workload", lambda model, task, device: loaded[module.Place(model, task).name])
    patch.setattr("eos_platform.analysis.transfer.probes.QUESTIONS", 16)
    patch.setattr("eos_platform.analysis.transfer.calibration.prompts.MADE_OF", 16)
    patch.setattr("eos_platform.analysis.transfer.calibration.prompts.CHOSEN_BY", 8)
    folder = tmp_path_factory.mktemp("matrix")
    cells = run(settings, folder, here("cpu"))
    assert len(cells.records) == total_of(settings) == 16
    told: list[str] = []
    run(settings, folder, here("cpu"), lambda record: told.append(record["key"]))
    assert told == [key for key, record in cells.records.items() if record["status"] != "measured"] == []
    patch.undo()
    return cells


@pytest.mark.slow  # a whole matrix: two searches, twelve transfers
def test_every_cell_is_deployed_within_the_budget(matrix: Cells) -> None:
    for record in matrix.records.values():
        if record["budget"] < 1:
            assert record["compute_ratio"] <= 0.35 + 1e-9, record["key"]
            spec = OperatorSpec.model_validate(record["operator"])
            assert spec.counts[-1] < spec.target.tokens


@pytest.mark.slow  # a whole matrix: two searches, twelve transfers
def test_only_what_is_carried_has_directions_without_a_step(matrix: Cells) -> None:
    for record in matrix.records.values():
        if record["kind"] in WAYS:
            spec = OperatorSpec.model_validate(record["operator"])
            directed = any(site.probe for site in spec.sites)
            if record["kind"].endswith("calibrated"):  # where the model's own answers speak for it
                assert directed == any("directions from" in change for change in record["changes"]), record["key"]
            else:
                assert directed == ("carried" in record["kind"]), record["key"]
            assert (record["prompts"] == 0) == (record["kind"] == "zero-shot"), record["key"]
            assert record["steps"] == (4 if record["kind"].startswith("adapted") else 0)


@pytest.mark.slow  # a whole matrix: two searches, twelve transfers
def test_an_adaptation_that_makes_it_worse_is_not_kept(matrix: Cells, loaded: dict[str, Subject]) -> None:
    for record in matrix.records.values():
        if not record["kind"].startswith("adapted"):
            continue
        _, _, way = record["kind"].partition("-")
        before = matrix.records[record["key"].replace(record["kind"], way or "zero-shot")]
        accuracy = evaluate(loaded[record["place"]], OperatorSpec.model_validate(before["operator"]), "validation", 24)
        assert record["validation"] >= accuracy.accuracy
        kept = any("kept as it was" in change for change in record["changes"])
        assert kept == (record["operator"]["sites"] == before["operator"]["sites"]), record["key"]


@pytest.mark.slow  # a whole matrix: two searches, twelve transfers
def test_operators_found_anew_are_files(matrix: Cells) -> None:
    files = sorted(Path(matrix.folder, "operators").iterdir())
    assert len(files) == sum(record["kind"] == ANEW for record in matrix.records.values())
    assert OperatorSpec.load(files[0]).sites


def test_counts_fill_the_budget(small: Workload) -> None:
    cost = flops_cost(small)
    for name in ("fastv", "tome", "divprune"):
        big = get_design(name).build(Target(layers=32, grid=(24, 24), model="big", vision_layers=24), 192)
        made, changes = fitted(big, small, cost, 0.4)
        assert cost.deployed(made) <= 0.4
        more = made.model_copy(update={"name": "more"})
        assert changes
        # a few more tokens at each site would be too many

        assert cost.deployed(scaled(more, Fraction(11, 10))) > 0.4


def test_directions_stay_where_only_the_pictures_differ(small: Workload) -> None:
    """The hidden space is the same; of another model's nothing is known, whatever its shape."""
    site = SiteSpec(layer=2, keep=6, score={"norm": 1.0}, probe=(1.0,) * small.shape.hidden)
    for target, stay in (
        (small.target.of_grid((5, 6)), True),
        (small.target.of_grid((5, 6)).model_copy(update={"model": "another"}), False),
        (small.target.of_grid((5, 6)).model_copy(update={"model": ""}), False),
        (small.target, True),
    ):
        mine = OperatorSpec(name="mine", target=target, sites=(site,))
        for made, changes in (rescaled(mine, small), fitted(mine, small, flops_cost(small), 0.4)):
            assert made.target.grid == small.target.grid
            assert bool(made.sites[0].probe) == stay
            assert any("direction" in change for change in changes) != stay
    assert rescaled(mine, small)[0] == mine
    with pytest.raises(EosError, match="directions stay: the model is the same"):
        carried(mine, mine, small, small)
    assert rescaled(mine.model_copy(update={"target": small.target.of_grid((6, 12))}), small)[0].counts[-1] == 12


def test_scaling_keeps_order_and_bounds() -> None:
    target = Target(layers=8, grid=(12, 12))
    mine = OperatorSpec(
        name="mine", target=target,
        sites=(SiteSpec(layer=0, keep=72, score={"norm": 1.0}), SiteSpec(layer=4, keep=0, selector="drop_all")),
    )  # fmt: skip

    assert [site.keep for site in scaled(mine, Fraction(1, 2)).sites] == [36, 0]
    assert [site.keep for site in scaled(mine, Fraction(9)).sites] == [144, 0]
    assert [site.keep for site in scaled(mine, Fraction(1, 1000)).sites] == [1, 0]


def test_a_few_flops_too_many_cost_one_token(small: Workload) -> None:
    """What a search adds, or a direction, may cost less than the step from one count to the next."""
    cost, config = flops_cost(small), SearchConfig(budget=0.3, start="transfer")
    merge = Transfer(gamma=0.9, tau=0.05)
    scores = {"layer": 0, "keep": 60, "score": {"norm": 1.0}, "transfer": merge, "beta": 0.9}
    sites = (
        SiteSpec.model_validate({**scores, "selector": "diverse_topk", "spread": 1.0}),
        SiteSpec.model_validate({**scores, "layer": 4, "keep": 56, "score": {"norm": 1.0, "last_text": 1.0}}),
    )
    original = OperatorSpec(name="mine", target=small.target, sites=sites)
    plain = fitted(original, small, cost, 0.3)[0]
    more = {"sites": tuple(site.model_copy(update={"probe": (1.0,) * small.shape.hidden}) for site in plain.sites)}
    directed = plain.model_copy(update=more)
    price = price_of(small, Structure("transfer", plain.sites, (), "score"), config, cost)
    for takes in (price, cost.deployed(directed)):  # budgets that are missed by next to nothing
        budget = takes * (1 - 1e-7)
        assert cost.deployed(plain) < budget
        at = config.model_copy(update={"budget": budget})
        structure = structure_at(small, plain, at, cost, lambda less: fitted(original, small, cost, less)[0])
        assert price_of(small, structure, at, cost) <= budget
        within_budget = within(directed, plain, original, small, cost, budget)
        assert cost.deployed(within_budget) <= budget
        assert sum(plain.counts) - 6 <= sum(within_budget.counts) <= sum(plain.counts)
        assert all(site.probe for site in within_budget.sites)
