"""JSON is read and written strictly, and everywhere by the same two functions."""

import ast
import json
import math
import os
from pathlib import Path

import pytest

import eos_platform
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError

PACKAGE = Path(eos_platform.__file__).parent


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"sites": [1], "sites": []}', "key 'sites' is given twice"),
        ('{"a": {"b": 1, "b": 1}}', "key 'b' is given twice"),
        ('{"a": 1, "\\u0061": 2}', "key 'a' is given twice"),
        (f'[{{"{"k" * 500}": 1, "{"k" * 500}": 2}}]', r"key 'k{57}\.\.\.' is given twice"),
        ("[NaN]", "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("1e999", "1e999 is too large"),
        ("1" * 5000, "digits"),
        ("[" * 100_000, "nested too deeply"),
        ('"\\ud800"', "half a surrogate pair"),
        ("{'a': 1}", r"\(line 1\)"),
        ('{"a": 1,}', r"\(line 1\)"),
        ("", r"\(line 1\)"),
    ],
)
def test_what_is_no_json_is_one_line(text, why):
    with pytest.raises(EosError, match=why) as caught:
        strict_json.loads(text, "file.json")
    assert str(caught.value).startswith("file.json: not JSON: ")
    assert len(str(caught.value)) < 200
    assert isinstance(caught.value, ValueError)  # callers that skip what cannot be read catch that


def test_the_rest_is_read_as_it_always_was():
    text = '{"a": [1, 2.5, -0.0, 1e300, 1e-400], "ä": null, "b": {"a": true}, "c": "\\ud83d\\ude00"}'
    assert strict_json.loads(text) == json.loads(text)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_that_is_none_is_written(number):
    with pytest.raises(EosError, match=r"a\.1\.b is not a finite number"):
        strict_json.dumps({"a": [1.0, {"b": number}]})
    assert strict_json.plain({"a": (1.0, {"b": number})}) == {"a": [1.0, {"b": None}]}


def test_values_that_are_no_json_are_refused():
    with pytest.raises(EosError, match="cannot be written as JSON"):
        strict_json.dumps({"a": object()})
    endless = []
    endless.append(endless)
    with pytest.raises(EosError, match="cannot be written as JSON"):
        strict_json.dumps(endless)


OTHERS = {
    "common/strict_json.py": {"json.loads", "json.dumps"},
    "common/strict_yaml.py": {"yaml.dump"},
    "engine/schema/safe_yaml.py": {"yaml.load"},
    "engine/store/snapshots.py": {
        "json.loads",
        "json.dumps",
    },  # Ray's files, which hold NaN
    "dashboard_data/study_plan.py": {"yaml.safe_load"},  # one field of a file that the engine checks, which is above it
    "lmms/results.py": {"json.loads", "json.dumps"},  # lmms-eval's files, which hold NaN
}


def uses(text):
    """Calls that read or write JSON or YAML in other ways."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in ("json", "yaml"):
                if node.attr in ("load", "loads", "dump", "dumps", "safe_load", "safe_dump", "JSONDecoder"):
                    yield f"{node.value.id}.{node.attr}"
            elif node.attr in ("model_validate_json", "validate_json", "parse_raw"):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module in ("json", "yaml", "orjson", "simplejson", "ujson"):
            yield f"from {node.module}"


def test_other_ways_are_seen():
    text = "import json\njson.loads(x)\nfrom yaml import load\nM.model_validate_json(t)\nyaml.safe_load(z)\nx.loads()\n"
    assert sorted(uses(text)) == ["from yaml", "json.loads", "model_validate_json", "yaml.safe_load"]


def test_all_files_are_read_and_written_in_the_one_way():
    wrong = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py"):
                path = Path(folder, file)
                name = str(path.relative_to(PACKAGE))
                wrong += [f"{name}: {use}" for use in uses(path.read_text("utf-8")) if use not in OTHERS.get(name, ())]
    assert not wrong
