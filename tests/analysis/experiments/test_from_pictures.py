"""Operators that read or act in the vision tower, asked on a task whose pictures are kept encoded."""

import pytest

from eos_platform.analysis.experiments import from_pictures
from eos_platform.common.errors import EosError
from eos_platform.operators.designs import get_design
from eos_platform.tasks import evaluate, load_workload


def test_pictures_are_asked_anew_and_processed_once():
    subject = load_workload("bundled-small-v2", "scenes-v2", "cpu")
    whole = get_design("fastervlm").build(subject.target, subject.target.tokens - 1)
    few = get_design("downsample").build(subject.target, 4)
    with pytest.raises(EosError, match="vision tower"):
        evaluate(subject, whole, "heldout", 8)
    made = []
    subject.processor = _Counting(subject.processor, made)
    unreduced = from_pictures.evaluated(subject, None, "heldout", 8)
    nearly = from_pictures.evaluated(subject, whole, "heldout", 8)
    assert abs(nearly.accuracy - unreduced.accuracy) <= 1 / 8 + 1e-9  # one token of all is missing
    assert from_pictures.evaluated(subject, few, "heldout", 8).accuracy <= nearly.accuracy
    assert len(made) == 1
    assert nearly.skills == unreduced.skills


class _Counting:
    def __init__(self, processor, made):
        self._processor, self._made = processor, made

    def __call__(self, **given):
        self._made.append(len(given["text"]))
        return self._processor(**given)

    def __getattr__(self, name):
        return getattr(self._processor, name)
