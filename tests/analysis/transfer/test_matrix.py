"""Shares kept with intervals, what told beforehand, the report, the figure; from records made by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from eos_platform.analysis.stats.bitpack import pack
from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.matrix import predictors, share_kept, table
from eos_platform.analysis.transfer.plan import ANEW, UNCHANGED, UNREDUCED, ZERO_SHOT, Settings
from eos_platform.analysis.transfer.report import costs, markdown
from eos_platform.analysis.transfer.store import Cells
from eos_platform.common.errors import EosError
from eos_platform.dashboards.comparing.transfer import transfer_figure


def cell(kind: str, source: str, place: str, right: int, budget: float = 0.2, seed: int = 0, **about: float) -> Record:
    scores = np.arange(100) < right
    return {
        "key": f"{kind}|{source}|{place}|{budget:g}|{seed}", "kind": kind, "source": source, "place": place,
        "budget": budget, "seed": seed, "status": "measured", "accuracy": right / 100, "questions": 100,
        "scores": pack(scores), "compute_ratio": budget, "seconds": 2.0,
        "about": {"family": "llava", "task": "scenes", "layers": 8, "tokens": 144, "hidden": 64, **about},
    }  # fmt: skip


@pytest.fixture
def records() -> dict[str, Record]:
    places = {"a": 8, "b": 8, "c": 16, "d": 32}
    some = [cell(UNREDUCED, name, name, 100, 1.0, layers=layers) for name, layers in places.items()]
    some += [cell(ANEW, name, name, 90, layers=layers) for name, layers in places.items()]
    some += [
        cell(ZERO_SHOT, one, two, 90 - 10 * abs(int(math.log2(places[one] / places[two]))), layers=places[two])
        for one in places
        for two in places
        if one != two
    ]
    return {one["key"]: one for one in some}


def test_the_share_kept_is_of_the_search_anew(records: dict[str, Record]) -> None:
    rows = table(records)
    row = rows[(rows["kind"] == ZERO_SHOT) & (rows["source"] == "a") & (rows["place"] == "d")].iloc[0]
    assert row["kept"] == pytest.approx(70 / 90)
    assert row["low"] < row["kept"] < row["high"]
    assert row["unreduced"] == 1.0
    same = rows[(rows["kind"] == ZERO_SHOT) & (rows["source"] == "a") & (rows["place"] == "b")].iloc[0]
    assert (same["low"], same["kept"], same["high"]) == (1.0, 1.0, 1.0)  # the very same questions


def test_nothing_is_kept_of_nothing() -> None:
    assert all(map(math.isnan, share_kept(np.zeros(4), np.zeros(4))))
    assert all(map(math.isnan, share_kept(np.ones(4), np.ones(3))))


def test_what_tells_beforehand(records: dict[str, Record]) -> None:
    told = predictors(records, table(records))
    depth = told[told["fact"] == "depth differs (log)"].iloc[0]
    assert depth["rho"] == pytest.approx(-1.0)
    assert depth["cells"] == 12
    assert "the same family" not in set(told["fact"])  # all are


def test_the_report_and_the_figure(records: dict[str, Record]) -> None:
    refused = {"key": "x", "kind": ZERO_SHOT, "source": "e", "place": "a", "budget": 0.2, "seed": 0}
    records["x"] = {**refused, "status": "refused", "reason": "no place for it"}
    settings = Settings.of({"places": ("bundled",), "ways": (ZERO_SHOT,)})
    text = markdown(settings, records)
    assert "2 of 12 keep at least 95%" in text
    assert "| 90.0% = 100.0% (100.0% to 100.0%) |" in text
    assert "| unreduced |  | 100.0% | 100.0% | 100.0% | 100.0% |" in text
    assert "- e on a at 0.2, zero-shot: no place for it" in text
    rows = table(records)
    figure = transfer_figure(rows[rows["kind"] != ANEW], (ZERO_SHOT,))
    assert list(figure.data[0].x) == list(figure.data[0].y)
    numbers = [value for row in figure.data[0].z for value in row if value is not None]
    assert sorted(numbers)[0] == pytest.approx(100 * 70 / 90)
    assert len(numbers) == 12
    assert transfer_figure(rows[:0], (ZERO_SHOT,)).layout.annotations[0].text.startswith("No transferred")


def test_a_folder_goes_on_and_refuses_another_matrix(tmp_path: Path, records: dict[str, Record]) -> None:
    settings = Settings.of({"places": ("bundled",)})
    cells = Cells(tmp_path, settings)
    for record in records.values():
        cells.add(record)
    with (tmp_path / "cells.jsonl").open("ab") as stream:
        stream.write(b'{"key": "cut')
    again = Cells(tmp_path, settings.model_copy(update={"places": ("bundled", "bundled-small")}))
    assert set(again.records) == set(records)
    again.add({**records[next(iter(records))], "key": "more"})
    assert "more" in Cells(tmp_path, settings).records
    with pytest.raises(EosError, match="a matrix of other questions"):
        Cells(tmp_path, settings.model_copy(update={"questions": 7}))


@pytest.mark.parametrize("damage", ["[]\n", '{"key": 3}\n', "nonsense\n"])
def test_damaged_cells_are_said(tmp_path: Path, damage: str) -> None:
    settings = Settings.of({"places": ("bundled",)})
    Cells(tmp_path, settings)
    (tmp_path / "cells.jsonl").write_text(damage)
    with pytest.raises(EosError, match="line 1"):
        Cells(tmp_path, settings)


def test_what_each_way_takes_is_told_where_it_is_known(records: dict[str, Record]) -> None:
    for record in records.values():
        if record["kind"] == ZERO_SHOT:
            record["prompts"] = 0
    rows = costs(table(records)).set_index("way")
    assert rows.loc[ZERO_SHOT, "prompts"] == 0
    assert rows.loc[ZERO_SHOT, "seconds"] == 2.0
    assert math.isnan(rows.loc[ANEW, "prompts"])  # cells of an earlier version
    text = markdown(Settings.of({"places": ("bundled", "bundled-small"), "budgets": (0.2,)}), records)
    assert "| searched anew | 4 | 100.0% |  | 2.0 |" in text


def test_a_cell_without_a_search_anew_beside_it_has_its_accuracy_alone(records: dict[str, Record]) -> None:
    some = {key: one for key, one in records.items() if one["kind"] != ANEW}
    text = markdown(Settings.of({"places": ("bundled", "bundled-small"), "budgets": (0.2,)}), some)
    assert "nan" not in text
    assert "| 80.0% |" in text
    rows = table(some)
    figure = transfer_figure(rows[rows["kind"] != ANEW], (ZERO_SHOT,))
    told = [*np.ravel(figure.data[0].text), *np.ravel(figure.data[0].customdata)]
    assert any("80.0% of questions; no search anew" in one for one in told)
    assert not any("nan" in one for one in told)


def _priced(record: Record, predicted: float, measured: float | None = None) -> Record:
    cost = {"name": "prefill_ms", "unit": "ms", "unreduced": 10.0, "budget": 10 * record["budget"]}
    return record | {"cost": cost | {"predicted": predicted} | ({"measured": measured} if measured else {})}


def test_costs_of_a_place_are_shares_of_its_own_cost() -> None:
    """Predicted, measured where that was possible, and marked where a budget is not met."""
    some = [
        _priced(cell(UNREDUCED, "b", "b", 95, 1.0), 10.0, 16.0),
        _priced(cell(ANEW, "b", "b", 90, 0.5), 5.0, 8.0),
        _priced(cell(UNCHANGED, "a", "b", 93, 0.5), 6.0, 9.0),
        _priced(cell(ZERO_SHOT, "a", "b", 81, 0.5), 4.0),
        cell(ANEW, "a", "a", 94, 0.5),
    ]
    rows = table({one["key"]: one for one in some}).set_index(["kind", "source"])
    names = ["cost", "share", "allowed", "predicted", "measured", "unreduced_measured"]
    assert rows.loc[(UNCHANGED, "a"), names].tolist() == [
        "prefill_ms", 0.6, 5.0, 6.0, 9.0, 16.0,
    ]  # fmt: skip
    assert math.isnan(rows.loc[(ZERO_SHOT, "a"), "measured"])
    plain = rows.loc[(ANEW, "a")]
    assert (plain["cost"], plain["share"]) == ("compute_ratio", 0.5)
    assert math.isnan(plain["predicted"])
    settings = Settings.of({"places": ("bundled",), "ways": (UNCHANGED, ZERO_SHOT)})
    text = markdown(settings, {one["key"]: one for one in some})
    assert "## Budget 0.5" in text
    assert "| unchanged | a | b | 0.5 | prefill_ms | 5 | 6 | 0.600 | 9 | 0.562 | no | 93.0% | 103.3% |" in text
    assert "| zero-shot | a | b | 0.5 | prefill_ms | 5 | 4 | 0.400 |  |  | yes | 81.0% | 90.0% |" in text
    grid = text[text.index("## Budget") : text.index("## Costs")]
    assert grid.count(" *") == 1
    assert "93.0% = 103.3%" in grid


@pytest.mark.parametrize(
    ("cost", "why"),
    [
        (3, "no record of a cost"),
        ({"name": "prefill_ms", "unreduced": 1.0, "budget": 1.0}, "'predicted' is missing"),
        ({"name": "prefill_ms", "unreduced": 1.0, "budget": 1.0, "predicted": 1.0, "measured": 0}, "'measured'"),
    ],
)
def test_damaged_costs_are_said(tmp_path: Path, cost: object, why: str) -> None:
    cells = Cells(tmp_path, Settings.of({"places": ("bundled",)}))
    with pytest.raises(EosError, match=why):
        cells.add(cell(ANEW, "b", "b", 90) | {"cost": cost})
