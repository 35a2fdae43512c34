"""The bounds and defaults of every setting of a search, and that each bound is where it says."""

import pytest
from pydantic import ValidationError

from eos_platform.common.errors import EosError
from eos_platform.search import SearchConfig
from eos_platform.search.config import LATER


def bare(schema):
    """A JSON schema without its words."""
    if isinstance(schema, dict):
        return {key: bare(value) for key, value in schema.items() if key not in ("title", "description")}
    return [bare(entry) for entry in schema] if isinstance(schema, list) else schema


def test_recorded_settings(recorded):
    recorded("settings", bare(SearchConfig.model_json_schema())["properties"])


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("budget", (1e-9, 1.0), (0.0, 1.0001)),
        ("steps", (4, 1_000_000), (3, 1_000_001)),
        ("batch_size", (1, 65_536), (0, 65_537)),
        ("learning_rate", (1e-9, 1.0), (0.0, 1.01)),
        ("seed", (0, 2**32 - 1), (-1, 2**32)),
        ("steering_rank", (0, 1024), (-1, 1025)),
        ("task_weight", (0.0, 1e9), (-1e-9, float("inf"))),
        ("budget_warm_up", (1.0, 4.0), (0.99, 4.01)),
        ("straight_through", (0.0, 0.9), (-0.01, 0.91)),
        ("tau_start", (1e-3, 10.0), (9e-4, 10.1)),
        ("temperature_end", (1e-9, 0.3), (0.0, 0.31)),
        ("search_questions", (1, 10_000_000), (0, 10_000_001)),
        ("eval_every", (0, 10), (-1, 0.5)),
    ],
)
def test_bounds(field, inside, outside):
    for value in inside:
        assert getattr(SearchConfig.of({field: value}), field) == value
    for value in outside:
        with pytest.raises(EosError, match=field):
            SearchConfig.of({field: value})
    with pytest.raises(ValidationError, match="frozen"):
        setattr(SearchConfig(), field, inside[0])


def test_files_and_stores_have_the_cost_only_where_there_was_a_choice():
    """What was written before there was one stays equal to what is written now."""
    assert "cost" not in SearchConfig().fields()
    assert SearchConfig().fields().keys() == SearchConfig.model_fields.keys() - set(LATER)
    other = SearchConfig(cost="kv_bytes", budget="1.5MB")
    assert (other.fields()["cost"], other.fields()["budget"]) == ("kv_bytes", 1.5e6)
    for config in (SearchConfig(seed=3), other):
        assert SearchConfig.of(config.fields()) == config
