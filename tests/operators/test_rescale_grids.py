"""Operators fitted to oblong grids, each count against the share worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from eos_platform.operators.rescale import rescale, sites_for
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

OBLONG = [((6, 4), (10, 3)), ((4, 6), (3, 10)), ((3, 8), (5, 5)), ((8, 3), (7, 2)), ((2, 12), (1, 9)), ((5, 5), (8, 3))]


def operator(grid: tuple[int, int], *sites: dict[str, object], **more: object) -> OperatorSpec:
    target = Target(layers=32, grid=grid, model="old")
    made = tuple(SiteSpec.model_validate(site) for site in sites)
    return OperatorSpec.model_validate({"name": "mine", "target": target, "sites": made, **more})


def half_up(count: int, old: int, new: int) -> int:
    return max(1, int(Fraction(count * new, old) + Fraction(1, 2)))


def pooled(grid: tuple[int, int], count: int) -> dict[str, object]:
    support = {"kind": "overlap", "size": count}
    transfer = {"by": "anchor", "tau": float("inf"), "gamma": 1.0, "nu": 1.0, "support": support}
    return {"layer": 0, "keep": count, "selector": "grid", "transfer": transfer}


@pytest.mark.parametrize(("old", "new"), OBLONG)
def test_pooling_takes_the_nearest_number_of_windows_that_the_grid_has(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    shapes = {rows * columns for rows in range(1, new[0] + 1) for columns in range(1, new[1] + 1)}
    for count in sorted({rows * columns for rows in range(1, old[0] + 1) for columns in range(1, old[1] + 1)}):
        site = rescale(operator(old, pooled(old, count)), Target(layers=32, grid=new)).operator.sites[0]
        share = half_up(count, old[0] * old[1], new[0] * new[1])
        wanted = new[0] * new[1] if count == old[0] * old[1] else min(shapes, key=lambda k: (abs(k - share), k))
        assert (site.keep, site.transfer.support.size) == (wanted, wanted), count


@pytest.mark.parametrize(("old", "new"), OBLONG)
def test_counts_and_windows_keep_their_share_of_an_oblong_grid(old: tuple[int, int], new: tuple[int, int]) -> None:
    before, after = old[0] * old[1], new[0] * new[1]
    for keep, important in ((before - 5, 7), (before // 2, 3), (before // 3, 0)):
        sites = (
            {"layer": 8, "keep": keep, "important": important, "score": {"norm": 1.0}},
            {"layer": 20, "keep": max(1, keep // 2), "score": {"norm": 1.0}},
        )
        mine = operator(old, *sites)
        made = rescale(mine, Target(layers=12, grid=new)).operator
        first, second = made.sites
        assert first.keep == min(half_up(keep, before, after), after)
        assert first.important == (min(half_up(important, before, after), first.keep) if important else 0)
        assert second.keep == min(half_up(max(1, keep // 2), before, after), first.keep)
        assert (first.layer, second.layer) == (3, 8)  # 8/32 and 20/32 of 12, rounded
        assert [row["keep"] for row in mine.relative] == [keep / before, max(1, keep // 2) / before]
        assert sites_for(mine, new)[0].keep == first.keep


@pytest.mark.parametrize(("old", "new"), OBLONG)
def test_a_shrunk_picture_shrinks_each_side_alike(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = (max(1, old[0] // 2), max(1, old[1] - 1))
    mine = operator(old, {"layer": 3, "keep": image[0] * image[1], "score": {"norm": 1.0}}, image=image)
    made = rescale(mine, Target(layers=32, grid=new)).operator
    sides = tuple(max(1, round(side * n / o)) for side, n, o in zip(image, new, old, strict=True))
    assert made.image == sides
    assert made.sites[0].keep == sides[0] * sides[1]  # all that arrive stay all that arrive
