"""The table of searches against designs, from rows made by hand."""

from eos_platform.analysis.experiments.never_worse import cells, measure
from eos_platform.analysis.experiments.tables.never_worse_report import skills, table


def row(kind: str, heldout: float, seed: int = 0, **more: object) -> dict[str, object]:
    return {"model": "m", "kind": kind, "ratio": 0.2 if kind != "unreduced" else 1.0, "seed": seed, "heldout": heldout,
            "skills": {"count": heldout}, **more}  # fmt: skip


ROWS = [
    row("unreduced", 0.98),
    row("portfolio", 0.94, seconds=20.0, start="pairs"),
    row("portfolio", 0.90, 1, seconds=30.0, start="default"),
    row("single", 0.88, seconds=10.0),
    row("designs", 0.87, designs=[
        {"design": "tome", "tuned": False, "heldout": 0.85, "skills": {"count": 0.8}},
        {"design": "dart", "tuned": True, "heldout": 0.87, "skills": {"count": 0.81}},
    ]),
]  # fmt: skip


def test_every_kind_has_its_cells() -> None:
    found = cells(["a", "b"], ["unreduced", "designs", "portfolio"], [0.2, 0.1], 3)
    assert len(found) == 2 * (1 + 2 + 2 * 3)
    assert ("b", "portfolio", 0.1, 2) in found


def test_a_line_has_means_worst_seeds_best_designs_and_times() -> None:
    head, shown = table(ROWS).splitlines()
    ends = [head.index(word) + len(word) for word in ("whole", "portfolio", "published", "tuned", "      s", "s one")]
    assert [shown[end - 4 : end].strip() for end in ends] == ["98.0", "92.0", "85.0", "87.0", "25", "10"]
    line = shown.split()
    #       model ratio whole portfolio worst single worst published tuned s one design / starts
    assert line == ["m", "0.2", "98.0", "92.0", "90.0", "88.0", "88.0", "85.0", "87.0", "25", "10", "dart", "/",
                    "pairs,default"]  # fmt: skip


def test_skills_are_of_the_best_design() -> None:
    assert skills(ROWS) == "m 0.2 (unreduced/searched/design): count 98/92/81"


def test_a_search_is_measured_on_questions_it_never_saw(small) -> None:
    quick = {"steps": 4, "batch_size": 4, "search_questions": 16, "eval_questions": 16}
    found = measure(small, ("bundled-small", "single", 0.3, 1), 24, quick)
    assert found["compute_ratio"] <= 0.3
    assert 0 <= found["heldout"] <= 1
    assert found["seconds"] > 0
    assert {found["model"], found["kind"]} == {"bundled-small", "single"}
    whole = measure(small, ("bundled-small", "unreduced", 1.0, 0), 24, quick)
    assert whole["heldout"] > 0.9
    assert "seconds" not in whole
