"""Records of a comparison, held against the schema they are written with."""

import copy

import numpy as np
import pytest
from PIL import Image

from eos_platform.analysis.comparison.pictures import png_uri
from eos_platform.analysis.comparison.schema import check_header, check_record
from eos_platform.analysis.stats.bitpack import pack
from eos_platform.common.errors import EosError
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import Target

TARGET = Target(layers=6, grid=(12, 12), model="bundled-small", vision_layers=3)
PNG = png_uri(Image.new("RGB", (8, 8)), (2, 2))
HEADER = {
    "uid": "1f",
    "model": "bundled-small",
    "task": "scenes",
    "questions": 10,
    "batch": 1,
    "device": "CPU",
    "dtype": "float32",
    "torch": "2.13",
    "python": "3.11",
    "layers": 6,
    "grid": [12, 12],
    "text_tokens": 9,
    "settings": {"model": "bundled-small", "designs": ["tome"], "ratios": [0.3]},
    "samples": 0,
    "examples": [{"question": 3, "skill": "a", "text": "b", "answer": "c", "grid": [12, 12], "png": PNG}],
}
MEASURED = {
    "key": "k",
    "name": "n",
    "family": "hand-designed",
    "variant": "published",
    "design": "tome",
    "ratio": 0.3,
    "seed": None,
    "status": "measured",
    "knobs": {"beta": 1.0, "rounds": 0, "positions": "keep"},
    "samples": 0,
    "accuracy": 0.5,
    "questions": 10,
    "per_skill": {"count": 0.5},
    "correct": pack(np.arange(10) < 5),
    "compute_ratio": 0.3,
    "flops": 10,
    "counted_flops": 10.0,
    "whole_model_ratio": 0.5,
    "mean_tokens": 40.0,
    "tokens_left": 40,
    "regime": "merge",
    "prefill_ms": 1.0,
    "seconds": 1.0,
    "kept": [[{"place": "decoder", "layer": 0, "origin": [1, 3], "size": [1.0, 2]}]],
    "operator": get_design("tome").build(TARGET, 40).model_dump(mode="json"),
}


def changed(data, path, value):
    data = copy.deepcopy(data)
    *parents, last = path
    inner = data
    for part in parents:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return data


def test_what_is_written_is_read():
    assert check_header(HEADER, "h") is HEADER
    assert check_record(MEASURED, "r") is MEASURED
    lost = {key: MEASURED[key] for key in list(MEASURED)[:10]} | {"status": "unreachable", "reason": "too few"}
    assert check_record(lost, "r") is lost


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["uid"], "../..", "uid"),
        (["questions"], "10", "questions"),
        (["questions"], 10**30, "questions"),
        (["grid"], [12], "grid"),
        (["grid", 0], 0, "grid.0"),
        (["examples"], None, "examples"),
        (["examples", 0, "question"], 10, "examples.0.question: there are 10 questions"),
        (["examples", 0, "png"], "javascript:x", "not a PNG"),
        (["examples", 0, "png"], PNG[:60], "not a small picture"),
        (["settings"], {"designs": ["tomee"]}, "did you mean 'tome'"),
        (["settings"], {"nonsense": 1}, "unknown key 'nonsense'"),
        (["device"], ["x"] * 10**6, "device"),
        (["model"], ..., "missing key 'model'"),
    ],
)
def test_a_header_that_is_none(path, value, says):
    with pytest.raises(EosError, match=f"^h: not a comparison's header: .*{says}") as raised:
        check_header(changed(HEADER, path, value), "h")
    assert len(str(raised.value)) <= 300


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["accuracy"], "0.5", "accuracy"),
        (["accuracy"], True, "accuracy"),
        (["accuracy"], 1.5, "accuracy"),
        (["accuracy"], 0.9, "of answers of which 0.5 are right"),
        (["correct"], "AAAA", "correct: not the answers to 10 questions"),
        (["correct"], "!!", "correct: not the answers"),
        (["questions"], 400, "correct: not the answers to 400 questions"),
        (["per_skill"], [], "per_skill"),
        (["per_skill", "count"], [0.5], "per_skill.count"),
        (["ratio"], float("nan"), "ratio"),
        (["ratio"], 0, "ratio"),
        (["family"], "serached", "did you mean 'searched'"),
        (["flops"], 0, "flops"),
        (["seed"], 1.5, "seed"),
        (["knobs"], {"x": [1]}, "knobs"),
        (["kept", 0, 0, "origin", 0], 144, "beyond the 144 tokens"),
        (["kept", 0, 0, "size"], [1.0], "2 places and 1 sizes"),
        (["operator", "target", "layers"], 10**12, "target.layers"),
        (["operator", "sites", 0, "keep"], "x", "sites.0.keep"),
        (["operator"], [], "operator"),
        (["status"], "nonsense", "status|reason"),
        (["key"], ..., "missing key 'key'"),
    ],
)
def test_a_record_that_is_none(path, value, says):
    with pytest.raises(EosError, match=f"^r: not a record of a comparison: .*({says})") as raised:
        check_record(changed(MEASURED, path, value), "r")
    assert len(str(raised.value)) <= 300


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_no_mapping_at_all(data):
    with pytest.raises(EosError, match=r"^r: not a record"):
        check_record(data, "r")
    with pytest.raises(EosError, match=r"^h: not a comparison's header"):
        check_header(data, "h")
