"""What a load test makes of times, and which prompts it asks."""

import pytest

from eos_platform.cli.serving.serve_load import load_table
from eos_platform.common.errors import EosError
from eos_platform.serve.load import Flight, different, medians, ratios, repeated, summed
from eos_platform.serve.sides import Answer, Asked, difference

PICTURES = [object() for _ in range(3)]
ASKED = [Asked(f"{number} {word}", (picture,)) for number, picture in enumerate(PICTURES) for word in ("a", "b")]


def test_times_of_requests_that_are_done() -> None:
    flights = [Flight(0.0, [0.5, 0.6, 0.8]), Flight(1.0, [1.1, 1.2, 1.3])]
    load = summed(flights, seconds=4.0, used=0.25, tokens=30)
    assert load.requests == 0.5
    assert load.first_ms == pytest.approx(300)
    assert load.between_ms == pytest.approx(1e3 * (0.1 + 0.2 + 0.1 + 0.1) / 4)
    assert load.row()["cache"] == 0.25


def test_prompts_about_few_pictures_or_each_about_its_own() -> None:
    assert {id(one.images[0]) for one in repeated(ASKED, 7, 2)} == {id(picture) for picture in PICTURES[:2]}
    assert len(repeated(ASKED, 7, 2)) == 7
    assert [one.text for one in different(ASKED, 3)] == ["0 a", "1 a", "2 a"]
    with pytest.raises(EosError, match="about 3 pictures; 4 are needed"):
        different(ASKED, 4)


def test_rows_are_set_beside_the_unreduced_model_of_the_same_load() -> None:
    def row(operator: str, many: int, requests: float) -> dict:
        measured = {"requests": requests, "first_ms": 10.0, "between_ms": 2.0, "cache": 0.1, "tokens": 9.0}
        return {"operator": operator, "pictures": "different", "at once": many, **measured}

    rows = [row("unreduced", 1, 2.0), row("unreduced", 8, 4.0), row("mine", 1, 3.0), row("mine", 8, 2.0)]
    assert ratios(rows[2], rows)["requests"] == 1.5
    assert ratios(rows[3], rows)["requests"] == 0.5
    assert load_table(rows).row_count == 4
    again = [*rows, {**rows[2], "requests": 9.0, "repeat": 1}, {**rows[2], "requests": 5.0, "first_ms": 40.0}]
    mine = next(one for one in medians(again) if (one["operator"], one["at once"]) == ("mine", 1))
    assert (mine["requests"], mine["least"], mine["most"], mine["repeats"]) == (5.0, 3.0, 9.0, 3)
    assert mine["first_ms"] == 10.0
    assert load_table(again).row_count == 4


def test_log_probabilities_are_compared_as_far_as_answers_are_the_same() -> None:
    def answer(*ids: int, shift: float) -> Answer:
        return Answer(ids, tuple(dict.fromkeys(ids, -1.0 - shift * step) for step in range(len(ids))), 3)

    assert difference(answer(1, 2, 3, shift=0.0), answer(1, 2, 3, shift=0.1)) == pytest.approx(0.2)
    assert difference(answer(1, 2, 3, shift=0.0), answer(1, 5, 9, shift=0.1)) == pytest.approx(0.1)
