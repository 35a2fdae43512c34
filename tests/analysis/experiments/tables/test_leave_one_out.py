"""The price of not knowing a model, from rows made by hand."""

import pytest

from eos_platform.analysis.experiments.tables.leave_one_out import choices, main, markdown, measure


def row(model: str, kind: str, validation: float, heldout: float, seed: int = 0) -> dict[str, object]:
    return {"model": model, "kind": kind, "ratio": 0.15, "seed": seed, "validation": validation, "heldout": heldout}


ROWS = [
    row("a", "default", 0.70, 0.70), row("a", "rank-4", 0.74, 0.75), row("a", "rate-.1", 0.80, 0.79),
    row("b", "default", 0.50, 0.50), row("b", "rank-4", 0.58, 0.57), row("b", "rate-.1", 0.40, 0.40),
    row("c", "default", 0.90, 0.89, 0), row("c", "default", 0.90, 0.91, 1), row("c", "rank-4", 0.89, 0.88),
]  # fmt: skip


def test_a_model_has_no_part_in_the_choice_made_for_it() -> None:
    by_model = {one["model"]: one for one in choices(ROWS)}
    assert by_model["a"] == {"model": "a", "default": 0.70, "left_out": "rank-4", "left_out_heldout": 0.75,
                             "own": "rate-.1", "own_heldout": 0.79}  # fmt: skip
    assert by_model["b"]["left_out"] == "rate-.1"  # +10 on a; rank-4 is +1.5 on a and c
    assert by_model["c"]["own"] == "default"
    assert by_model["c"]["default"] == pytest.approx(0.9)  # both seeds


def test_the_page_shows_the_price() -> None:
    assert "| a | 70.0% | rank-4: 75.0% | rate-.1: 79.0% | +4.0 |" in markdown(ROWS)


def test_a_search_is_measured_on_questions_it_never_saw(small, monkeypatch) -> None:
    quick = {"steps": 4, "batch_size": 4, "search_questions": 16, "eval_questions": 16}
    monkeypatch.setattr("eos_platform.analysis.experiments.tables.leave_one_out.FIXED", {"rank-4": quick})
    found = measure(small, ("bundled-small", "rank-4", 0.3, 1), 24)
    assert found["compute_ratio"] <= 0.3
    assert 0 <= found["heldout"] <= 1


def test_an_unknown_variant_is_one_line(capsys, tmp_path) -> None:
    assert main(["--variants", "rank-44", "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "did you mean" in capsys.readouterr().err.lower()
