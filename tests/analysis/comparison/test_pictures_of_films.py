"""Of several pictures in a prompt, the one is shown whose tokens are."""

from types import SimpleNamespace

import pytest

from eos_platform.analysis.comparison.pictures import picture_of
from eos_platform.tasks.examples import EncodedExamples


@pytest.mark.parametrize(("whole", "opened", "expected"), [(0, ["a", "b"], "a"), (-1, ["a", "b"], "b"), (0, "a", "a")])
def test_one_of_several_pictures_is_shown(monkeypatch, whole, opened, expected):
    encoded = EncodedExamples.__new__(EncodedExamples)
    monkeypatch.setattr(EncodedExamples, "example", lambda self, number: SimpleNamespace(opened=lambda: opened))
    encoded.adapter = SimpleNamespace(family=SimpleNamespace(whole=whole))
    assert picture_of(encoded, 0) == expected
