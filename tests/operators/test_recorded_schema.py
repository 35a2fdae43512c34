"""What an operator file may hold: every field, its bounds and its default, as a schema without its words."""

from eos_platform.operators.spec import OperatorSpec


def bare(schema):
    if isinstance(schema, dict):
        return {key: bare(value) for key, value in schema.items() if key not in ("title", "description")}
    return [bare(entry) for entry in schema] if isinstance(schema, list) else schema


def test_recorded_operator_file(recorded):
    schema = bare(OperatorSpec.model_json_schema())
    recorded("operator-file", {"": schema["properties"], **schema["$defs"]})
