"""YAML that would never end, or would be more than there is memory for."""

import time

import pytest

from eos_platform.engine import study_file
from eos_platform.errors import EosError

LEVELS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LEVELS + "name: *a11\n", r"more than 20,000 values, aliases followed \(line 5\)"),
        ("search: &s {steps: *s}", r"alias 's' is inside of what it names"),
        ("&a [*a]", r"alias 'a' is inside of what it names"),
        ("<<: &m {<<: *m}", "is inside of what it names"),
        ("trials: 0x" + "f" * 5000, "a number of 5,002 characters"),
        ("trials: " + "9" * 5000, "a number of 5,000 characters"),
        ("x: " + "{a: " * 100 + "}" * 100, "nested more than 40 deep"),
        ("- " * 5000, "nested more than 40 deep"),
        ("a: b\n" * 60_000, "300,000 characters are more than"),
        ("trials: \0", "a character that no text has"),
        ("name: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("name: !!timestamp x", "a value that its tag cannot have"),
    ],
)
def test_it_is_refused_while_it_is_read(tmp_path, text, says):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    started = time.perf_counter()
    with pytest.raises(EosError, match=says) as raised:
        study_file.load(path)
    assert time.perf_counter() - started < 3
    assert len(str(raised.value)) <= 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: !!timestamp 2024-01-01", r"name: input should be a valid string \(got datetime.date"),
        ("resources: {memory: " + "9" * 90 + "GiB}", "resources.memory: must be a number of bytes"),
        ("resources: {memory: 99999999999999999TiB}", "resources.memory: "),
        ("name: [" + "x, " * 5000 + "]", "name: input should be a valid string"),
        ("name: !!set {a}", "name: "),
    ],
)
def test_values_that_no_study_has(text, says):
    values = {"name": "s", "space": {"budget": {"choice": [0.2]}}, **study_file.parse(text, "f")}
    with pytest.raises(EosError, match=says) as raised:
        study_file.StudyFile.of(values)
    assert len(str(raised.value)) <= 300


def test_anchors_and_merge_keys_of_ordinary_size_are_read():
    text = "base: &b {steps: 3}\nsearch:\n  <<: *b\n  seed: 1\nlist: [*b, *b]"
    assert study_file.parse(text, "f")["search"] == {"steps": 3, "seed": 1}
