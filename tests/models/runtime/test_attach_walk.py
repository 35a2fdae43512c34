"""How far a reader follows an operator through ``attach``: the modules whose functions are handed it, in order."""

import inspect
import os
import sys
from functools import cached_property
from pathlib import Path

import pytest
import small_llava as small

import eos_platform
from eos_platform.models.runtime.attach import attach, detach
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec

ROOT = Path(eos_platform.__file__).parent
FORMS, STRINGS = (OperatorSpec, OperatorPlan), (str, Path)
READING = ["runtime/attach", "runtime/operator_source", "operators/spec"]
MEETING = ["operators/plan", "adapters/target"]
HOOKING = ["runtime/decoder_hooks"]


def walk(call, source):
    """Modules whose functions get the operator in some form while ``call`` runs, without repetition in a row.

    Its address, itself or its plan. Left out is what reads files for anybody (``common``), and what is no step on the
    way: properties, comprehensions, and methods that Python or pydantic call.
    """
    stays = []

    def note(frame, event, arg):
        code = frame.f_code
        file, name = Path(code.co_filename), code.co_name
        if event != "call" or ROOT not in file.parents or (name.startswith(("<", "_")) and name != "__init__"):
            return
        handed = [frame.f_locals.get(one) for one in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
        forms = [one for one in handed if isinstance(one, FORMS) or (isinstance(one, STRINGS) and str(one) == source)]
        place = "/".join(file.with_suffix("").parts[-2:])
        if forms and not place.startswith("common/") and not is_property(forms[0], name) and stays[-1:] != [place]:
            stays.append(place)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return stays


def is_property(owner, name):
    return isinstance(inspect.getattr_static(type(owner), name, None), (property, cached_property))


@pytest.mark.parametrize(("name", "tower"), [("merge", []), ("vision", ["vision/tower"])])
def test_attaching_leads_through_each_module_once(tmp_path, name, tower):
    model = small.build()
    source = os.fspath(small.operator(*small.SITES[name]).save(tmp_path / "operator.json"))
    attach(model, source)
    detach(model)  # what is imported on the way has been
    assert walk(lambda: attach(model, source), source) == [*READING, *MEETING, *tower, *HOOKING]
    detach(model)
