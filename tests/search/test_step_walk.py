"""How many modules a reader visits from a batch of questions to its loss and gradient."""

import inspect
import sys
from pathlib import Path

import torch

import eos_platform
from eos_platform.search.objective import teacher_states
from eos_platform.search.parameters import Parameters
from eos_platform.search.step import Stepper

ROOT = Path(eos_platform.__file__).parent
MOST = 40  # 46 where every step made the adapter anew


def is_property(frame):
    owner = frame.f_locals.get("self")
    found = inspect.getattr_static(type(owner), frame.f_code.co_name, None)
    return not inspect.isfunction(found) and owner is not None


def visited(call):
    """Modules of the package in which a function is called, but for properties and comprehensions."""
    found = set()

    def note(frame, event, arg):
        code = frame.f_code
        file = Path(code.co_filename)
        if event == "call" and ROOT in file.parents and code.co_name[:1] != "<" and not is_property(frame):
            found.add(file.relative_to(ROOT).with_suffix("").as_posix())

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def test_from_a_batch_to_its_loss_the_adapter_is_handed_on(small, tiny):
    encoded = small.encoded("search", tiny.search_questions)
    stepper = Stepper(small, tiny, Parameters(tiny, small.target, small.shape.hidden, small.features), encoded)
    stepper.teacher_qad = teacher_states(small.model, encoded)
    stepper.budget.fill_(tiny.budget)
    stepper.index_b = torch.arange(4)
    stepper.gradient(hard=False, candidates=96)  # what is imported on the way has been
    way = visited(lambda: stepper.gradient(hard=False, candidates=96))
    # who makes an adapter, or looks for a model's parts, has not been handed them
    assert not way & {"models/adapters/__init__", "models/adapters/llava", "models/adapters/target"}
    assert len(way) <= MOST, sorted(way)
