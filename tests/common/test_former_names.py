"""Former names of fields and values: read as today's, never written."""

import pytest

from eos_platform.common.former_names import FormerNames

TABLE = FormerNames({"warmth": "heat", "hue": "colour"}, {"colour": {"crimson": "red"}})


@pytest.mark.parametrize(
    ("given", "current"),
    [
        ({"warmth": 1, "size": 2}, {"heat": 1, "size": 2}),
        ({"heat": 1}, {"heat": 1}),
        ({"hue": "crimson"}, {"colour": "red"}),
        ({"colour": ["crimson", "blue", 3]}, {"colour": ["red", "blue", 3]}),
        ({"colour": ("crimson",)}, {"colour": ("red",)}),
        ({"size": "crimson", 5: "warmth"}, {"size": "crimson", 5: "warmth"}),
        ({"warmth": {"hue": 1}}, {"heat": {"hue": 1}}),
        ({}, {}),
        ("warmth", "warmth"),
        (None, None),
    ],
)
def test_current(given, current):
    assert TABLE.current(given) == current
    assert TABLE.current(current) == current


def test_the_order_is_kept_and_what_is_current_is_itself():
    assert list(TABLE.current({"a": 1, "warmth": 2, "b": 3})) == ["a", "heat", "b"]
    data = {"heat": 1, "colour": "blue"}
    assert TABLE.current(data) is data


@pytest.mark.parametrize("both", [{"warmth": 1, "heat": 2}, {"heat": 2, "warmth": 1}])
def test_a_field_under_both_names_is_refused(both):
    with pytest.raises(ValueError, match="'warmth' is the former name of 'heat'; give one of them"):
        TABLE.current(both)
    assert TABLE.latest(both) == {"heat": 2}


def test_the_former_names_of_what_is_current():
    given = {"warmth": 1, "hue": "crimson", "size": 2}
    assert TABLE.former(TABLE.current(given)) == given
    assert TABLE.former("heat") == "heat"
