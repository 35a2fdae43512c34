"""Places, and the cells of a matrix."""

import pytest

from eos_platform.analysis.transfer.places import Place, parse_places
from eos_platform.analysis.transfer.plan import ANEW, UNREDUCED, Settings, first_items, transfers
from eos_platform.common.errors import EosError


def test_a_place_is_a_model_and_its_task() -> None:
    assert Place.parse("bundled-qwen") == Place("bundled-qwen", "scenes-v2")
    assert Place.parse("bundled-small:scenes-v2").name == "bundled-small:scenes-v2"
    assert Place.parse("bundled-small:scenes").name == "bundled-small"
    files = Place.parse('m:{"name": "files", "data": "my.jsonl"}')
    assert files.choice == {"name": "files", "data": "my.jsonl"}
    assert files.name == "m:files"
    assert Place.parse("owner/name@main:scenes").model == "owner/name@main"  # a revision on the Hub


@pytest.mark.parametrize(
    ("text", "task", "name"),
    [
        ("bundled-qwen:sizes=448", {"name": "scenes-v2", "sizes": "448"}, "bundled-qwen:sizes=448"),
        ("bundled-qwen:scenes-v2:sizes=448x252,336", {"name": "scenes-v2", "sizes": "448x252,336"}, None),
        ("bundled-qwen:crowds:side=448", {"name": "crowds", "side": 448}, "bundled-qwen:crowds:side=448"),
        ("m:files:data=my.jsonl", {"name": "files", "data": "my.jsonl"}, "m:files"),
        ('m:{"name": "scenes-v2", "sizes": [[448, 252]]}', None, "m:scenes-v2:sizes=[[448,252]]"),
        (
            'm:{"name": "files", "data": "a:b}"}:metric=exact',
            {"name": "files", "data": "a:b}", "metric": "exact"},
            None,
        ),
    ],
)
def test_a_place_may_have_options_of_its_task(text: str, task: object, name: str | None) -> None:
    place = Place.parse(text)
    assert task in (None, place.choice)
    assert name in (None, place.name)
    assert place.hardware is None


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "at least one MODEL"),
        ([":scenes"], "MODEL, MODEL:TASK or MODEL:TASK:OPTION=VALUE is expected"),
        (["bundled:scnes"], "did you mean 'scenes'"),
        (["bundled", "bundled:scenes"], "'bundled' is named twice"),
        (["bundled-qwen:size=448"], "unknown option 'size'; did you mean 'sizes'"),
        (["bundled-qwen:sizes=44"], "112 to 672"),
        (["bundled-qwen:sizes=448:sizes=336"], "'sizes' is given twice"),
        (["bundled-qwen:scenes-v2:448"], "OPTION=VALUE is expected"),
        (["bundled-qwen:crowds:side=big"], "side: a number is expected"),
        (["bundled-qwen:sizes=448", "bundled-qwen:scenes-v2:sizes=448"], "is named twice"),
    ],
)
def test_what_is_no_place(texts: list[str], why: str) -> None:
    with pytest.raises(EosError, match=why):
        parse_places(texts)


def test_every_operator_goes_to_every_other_place() -> None:
    settings = Settings.of(
        {"places": ("bundled", "bundled-small"), "operators": ("a/mine.json",), "budgets": (0.2,), "seeds": 2}
    )
    first = first_items(settings)
    assert [item.kind for item in first] == [UNREDUCED] * 2 + [ANEW] * 4
    cells = transfers(settings)
    assert [item.place for item in cells] == sorted(item.place for item in cells)  # a model is loaded once
    # three ways x (two seeds of the other place, and the file)
    assert len(cells) == 3 * 2 * (2 + 1)
    assert {(item.source, item.place) for item in cells} == {
        ("bundled", "bundled-small"), ("bundled-small", "bundled"), ("mine", "bundled"), ("mine", "bundled-small"),
    }  # fmt: skip
    files_alone = settings.model_copy(update={"seeds": 0})
    assert {item.kind for item in first_items(files_alone)} == {UNREDUCED}
    assert {item.source for item in transfers(files_alone)} == {"mine"}
    keys = [item.key for item in (*first, *cells)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ways": ("zeroshot",)}, "did you mean 'zero-shot'"),
        ({"budgets": (0.2, 1.5)}, "between 0 and 1"),
        ({"budgets": (0.2, 0.2)}, "each once"),
        ({"search": {"stps": 3}}, "stps"),
        ({"search": {"steps": 3}}, "a matrix has its own steps"),
        ({"question": 3}, "question"),
        ({"seeds": 0}, "nothing to transfer"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, object], why: str) -> None:
    with pytest.raises(EosError, match=why):
        Settings.of({"places": ("bundled",), **change})
