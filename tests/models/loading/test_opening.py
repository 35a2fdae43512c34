"""Folders of models that cannot be loaded: one line each, whatever transformers makes of them."""

import json
import os
import shutil

import pytest

from eos_platform.bench.shapes import load as load_for_bench
from eos_platform.common.errors import EosError
from eos_platform.models import bundled
from eos_platform.models.loading.devices import find_device
from eos_platform.tasks import load_workload

QUANTIZED = {"quant_method": "bitsandbytes", "load_in_4bit": True}
NO_OBJECTS = ["", "null", "[]", "42", "{", '{"a": ' * 5000, "\0", '{"vocab_size": ' + "9" * 5000 + "}"]


@pytest.fixture
def place(tmp_path):
    shutil.copytree(bundled.folder("bundled-small"), tmp_path / "model")
    return tmp_path / "model"


def change(file, *path, to):
    data = json.loads(file.read_text())
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = to
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("file", "path", "to", "says"),
    [
        ("config.json", ("vision_config", "patch_size"), 0, "patch_size: a whole number from 1"),
        (
            "config.json",
            ("text_config", "num_hidden_layers"),
            10**9,
            "num_hidden_layers: a whole number from 1 to 1,000",
        ),
        ("config.json", ("text_config", "head_dim"), 10**6, "describes [0-9,]+ numbers or more; the weights"),
        ("config.json", ("text_config", "hidden_size"), "x", "hidden_size: a whole number"),
        ("config.json", ("text_config", "hidden_size"), 64, "other shapes than its config.json says"),
        ("config.json", ("text_config",), [], "cannot be loaded: "),
        ("config.json", ("text_config", "hidden_act"), "silux", "cannot be loaded: "),
        ("config.json", ("vision_feature_layer",), 77, "cannot be loaded: "),
        ("config.json", ("model_type",), "bert", "is a 'bert', which is of no known family"),
        ("config.json", ("model_type",), None, "cannot be loaded: "),
        (
            "config.json",
            ("quantization_config",),
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            "bitsandbytes",
        ),
        ("config.json", ("quantization_config",), {"quant_method": "nothing"}, "cannot be loaded|nothing"),
        ("config.json", ("image_token_index",), [], "cannot be loaded: "),
        ("tokenizer.json", ("model",), None, "cannot be loaded: "),
        ("tokenizer_config.json", ("eos_token",), None, "has no eos_token"),
        (
            "processor_config.json",
            ("processor_class",),
            "BertTokenizer",
            "cannot be loaded|tokenizer",
        ),
    ],
)
def test_a_wrong_value_is_one_line(place, file, path, to, says):
    change(place / file, *path, to=to)
    try:
        load_workload(place, device="cpu")
    except EosError as error:
        line = str(error)
    else:
        pytest.skip("this version of transformers makes do with it")
    import re

    assert re.search(says, line), line
    assert "model" in line
    assert len(line) <= 300


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "42", "{", '{"a": ' * 5000, "\0", '{"vocab_size": ' + "9" * 5000 + "}"]
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_file_that_is_no_object_is_named(place, file, text):
    (place / file).write_text(text)
    with pytest.raises(EosError, match=f"{file}: "):
        load_workload(place, device="cpu")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"])
def test_special_files_are_not_opened(place, file):
    (place / file).unlink()
    os.mkfifo(place / file)
    for load in (
        lambda: load_workload(place, device="cpu"),
        lambda: load_for_bench(None, str(place), find_device("cpu")),
    ):
        with pytest.raises(EosError, match=f"{file}: it is a pipe"):
            load()


def test_damaged_weights(place):
    data = (place / "model.safetensors").read_bytes()
    for spoilt in (b"", data[:1000], data[:-1000], (2**62).to_bytes(8, "little") + data[8:], b"\x80\x04pickle"):
        (place / "model.safetensors").write_bytes(spoilt)
        with pytest.raises(EosError, match=r"model .* cannot be loaded: ") as raised:
            load_workload(place, device="cpu")
        assert raised.value.__cause__ is not None  # for EOS_DEBUG


@pytest.mark.parametrize("name", ["", "\0", "a" * 5000, "/dev/null", "nowhere/x"])
def test_names_that_are_no_folder(name):
    with pytest.raises(EosError, match=r"^model ") as raised:
        load_workload(name, device="cpu")
    assert len(str(raised.value)) <= 300
