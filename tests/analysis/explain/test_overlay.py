"""What a deployed operator answers about the example pictures, in words and as the evaluation counts it."""

import json

import torch

from eos_platform.analysis.explain.overlay import PICTURES, answered_on, answers_json, example_pictures
from eos_platform.operators.spec import OperatorSpec, SiteSpec


def test_an_answer_is_worth_something_exactly_if_it_is_the_right_one(small):
    """Written by ``generate`` with the operator attached, judged by the evaluation: two ways, one verdict."""
    encoded = small.few("heldout", 24)
    hard = OperatorSpec(target=small.target, sites=(SiteSpec(layer=0, keep=4, score={"norm": 1.0}),))
    worths = []
    for operator in (None, hard):
        found = answered_on(small, operator, encoded, list(range(24)))
        for number, one in enumerate(found):
            assert (one["given"] == encoded.example(number).answer) == (one["worth"] == 1.0)
        worths.append(torch.tensor([one["worth"] for one in found]).mean().item())
    assert worths[0] > worths[1] > 0  # some right and some wrong: neither verdict is the only one


def test_there_is_one_answer_for_each_example(small):
    assert len(json.loads(answers_json(small, None))) == len(example_pictures(small)) == PICTURES
