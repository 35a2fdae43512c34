"""The subset where plain downsampling fails."""

import numpy as np
import pytest

from eos_platform.common.errors import EosError
from eos_platform.tasks.scenes_v2.sensitive import sensitive


def test_right_as_it_is_and_wrong_when_shrunk():
    whole, quarter = np.array([1, 1, 0, 1, 0], bool), np.array([0, 1, 0, 0, 1], bool)
    found = sensitive(whole, quarter, ["a", "a", "b", "b", "b"], [1, 2, 3, 3, 1])
    assert found.index.tolist() == [0, 3]
    assert found.share == 0.4
    assert found.skills == {"a": 1, "b": 1}
    assert found.difficulties == {1: 1, 3: 1}
    assert found.accuracy(whole) == 1
    assert found.accuracy(quarter) == 0
    assert found.accuracy(np.array([1, 0, 0, 0, 0], bool)) == 0.5


def test_nothing_is_sensitive():
    found = sensitive(np.ones(3, bool), np.ones(3, bool), ["a"] * 3, [1] * 3)
    assert found.share == 0
    assert np.isnan(found.accuracy(np.ones(3, bool)))


def test_answers_of_other_questions_are_refused():
    with pytest.raises(EosError, match="differ in length"):
        sensitive(np.ones(3, bool), np.ones(2, bool), ["a"] * 3, [1] * 3)
