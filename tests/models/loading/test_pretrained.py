"""Nothing a model's folder brings is run, and no weight is made up in silence."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import eos_platform
from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.models.loading.pretrained import build, load, load_model
from eos_platform.tasks import load_workload

PACKAGE = Path(eos_platform.__file__).parent
LOADERS = {"from_pretrained", "from_config", "load_adapter", "load_custom_generate", "get_class_from_dynamic_module"}
FUNCTIONS = {"pipeline", "cached_file", "hub.load", "torch.hub.load", "pyfunc.load_model", "mlflow.pyfunc.load_model"}


def loading(text):
    """Calls that may run code of what they load, and whether they say that it must not: (line, name, said)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rpartition(".")[2] in LOADERS or name in FUNCTIONS or name.startswith("transformers.pipeline"):
                yield node.lineno, name, any(key.arg == "trust_remote_code" for key in node.keywords)
        elif isinstance(node, ast.Attribute) and node.attr in LOADERS and isinstance(node.ctx, ast.Load):
            yield node.lineno, ast.unparse(node), False  # handed on to be called elsewhere


def unsaid(text):
    said = {line for line, _, message in loading(text) if message}
    return sorted({line for line, _, _ in loading(text)} - said)


def test_an_omission_is_seen():
    text = "A.from_pretrained(x)\nB.from_config(c, trust_remote_code=False)\npipeline('x')\nf = C.from_pretrained\n"
    assert unsaid(text) == [1, 3, 4]


def test_one_module_loads_and_says_whether_code_is_run():
    places = {}
    for top, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            path = Path(top, file)
            if path.suffix == ".py" and (found := list(loading(path.read_text("utf-8")))):
                places[str(path.relative_to(PACKAGE))] = path.read_text("utf-8"), len(found)
    assert set(places) == {"models/loading/pretrained.py"}
    assert unsaid(places["models/loading/pretrained.py"][0]) == []


CODE = """
from pathlib import Path
Path({mark!r}).write_text("ran")
from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers import PreTrainedTokenizerFast
class MyConfig(LlavaConfig): pass
class MyModel(LlavaForConditionalGeneration): config_class = MyConfig
class MyProcessor(LlavaProcessor): pass
class MyTokenizer(PreTrainedTokenizerFast): pass
class MyImages(CLIPImageProcessor): pass
def generate(model, **kwargs): return None
"""


def hostile(tmp_path, kind="llava"):
    """A copy of a bundled model whose every file names code, and the file that the code would leave."""
    place, mark = tmp_path / "hostile", tmp_path / "ran"
    shutil.copytree(folder("bundled-small"), place)
    (place / "mine.py").write_text(CODE.format(mark=str(mark)))
    (place / "custom_generate").mkdir()
    (place / "custom_generate" / "generate.py").write_text(CODE.format(mark=str(mark)))
    autos = {
        "AutoConfig": "mine.MyConfig",
        "AutoModel": "mine.MyModel",
        "AutoModelForImageTextToText": "mine.MyModel",
        "AutoModelForCausalLM": "mine.MyModel",
        "AutoProcessor": "mine.MyProcessor",
        "AutoTokenizer": ["mine.MyTokenizer", "mine.MyTokenizer"],
        "AutoImageProcessor": "mine.MyImages",
        "AutoVideoProcessor": "mine.MyImages",
        "AutoFeatureExtractor": "mine.MyImages",
    }
    for name in ("config.json", "processor_config.json", "tokenizer_config.json", "generation_config.json"):
        data = json.loads((place / name).read_text())
        data["auto_map"] = autos
        if name == "config.json":
            data["model_type"] = kind
        for part in ("image_processor", "tokenizer", "video_processor"):
            if isinstance(data.get(part), dict):
                data[part]["auto_map"] = autos
        if kind != "llava":
            data = {key: value for key, value in data.items() if key not in ("processor_class", "tokenizer_class")}
        (place / name).write_text(json.dumps(data))
    (place / "preprocessor_config.json").write_text(json.dumps({"auto_map": autos, "image_processor_type": "MyImages"}))
    return place, mark


AUTOS = ["AutoConfig", "AutoProcessor", "AutoTokenizer", "AutoImageProcessor", "AutoModelForImageTextToText"]


@pytest.fixture
def _consenting(monkeypatch):
    """Whoever asks is told yes."""
    monkeypatch.setattr("builtins.input", lambda *question: "y")


@pytest.mark.usefixtures("_consenting")
@pytest.mark.parametrize("kind", ["llava", "mine"])
@pytest.mark.parametrize("auto", AUTOS)
def test_no_code_of_the_folder_is_run(tmp_path, kind, auto):
    import transformers

    place, mark = hostile(tmp_path, kind)
    try:
        (load_model if "Model" in auto else load)(getattr(transformers, auto), place)
    except (EosError, ValueError, OSError, KeyError) as error:
        message = error
    else:
        message = None
    assert not mark.exists()
    if kind == "mine" and auto in ("AutoConfig", "AutoModelForImageTextToText"):
        assert isinstance(message, EosError)
        assert "--trust-remote-code" in str(message)
    if kind == "llava" and auto not in ("AutoImageProcessor",):
        assert message is None


@pytest.mark.usefixtures("_consenting")
def test_workload_and_bench_run_no_code(tmp_path):
    from eos_platform.bench import shapes

    place, mark = hostile(tmp_path)
    assert load_workload(place, device="cpu").model is not None  # its classes are known here: its own are left alone
    shapes.load(None, str(place), torch.device("cpu"))
    assert not mark.exists()
    other, mark = hostile(tmp_path / "b", "mine")
    for act in (lambda: load_workload(other), lambda: shapes.load(None, str(other), torch.device("cpu"))):
        with pytest.raises(EosError, match="needs Python code of its own"):
            act()
    assert not mark.exists()


def test_code_is_run_for_those_who_want_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    place, mark = hostile(tmp_path)
    (place / "preprocessor_config.json").unlink()
    workload = load_workload(place, device="cpu", trust_remote_code=True)
    assert mark.exists()
    assert type(workload.model).__name__ == "MyModel"


def test_the_command_line_asks_nobody(tmp_path):
    """A real process with "y" on its standard input."""
    place, mark = hostile(tmp_path, "mine")
    done = subprocess.run(
        [sys.executable, "-m", "eos_platform", "evaluate", "--model", str(place), "--questions", "1"],
        input="y\n" * 9, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert not mark.exists()
    assert "auto_map" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# ---- weights


@pytest.fixture
def copied(tmp_path):
    place = tmp_path / "model"
    shutil.copytree(folder("bundled-small"), place)
    return place


def changed(place, change):
    path = place / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def some(name="norm"):
    path = folder("bundled-small") / "model.safetensors"
    return next(key for key in sorted(load_file(path)) if name in key)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda held: {}, r"lack '.*' and \d+ more; they would be drawn at random \(--allow-missing"),
        (lambda held: {key: value for key, value in held.items() if key != some()}, r"lack '.*norm.weight'; they"),
        (lambda held: {**held, "else": torch.zeros(2)}, "have, beside those of the model, 'else'; they would be left"),
        (lambda held: {f"x.{key}": value for key, value in held.items()}, "lack '"),
    ],
)
def test_weights_that_are_missing_or_too_many_are_an_error(copied, change, says):
    changed(copied, change)
    with pytest.raises(EosError, match=says) as caught:
        load_workload(copied, device="cpu")
    assert "\n" not in str(caught.value)
    assert load_workload(copied, device="cpu", allow_missing=True).model is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda held: {**held, some(): torch.zeros(3)}, "other shapes than its config.json says"),
        (lambda held: {**held, some(): held[some()].to(torch.int8)}, "is of type I8; weights are one of F64"),
        (lambda held: {**held, some(): held[some()].to(torch.bool)}, "is of type BOOL"),
        (lambda held: {**held, some(): held[some()].to(torch.int64)}, "is of type I64"),
    ],
)
def test_weights_of_other_shapes_and_types_are_an_error(copied, change, says):
    changed(copied, change)
    with pytest.raises(EosError, match=says):
        load_workload(copied, device="cpu")


def test_tied_weights_and_old_buffers_are_none_too_few_or_too_many(copied, tmp_path):
    from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration

    changed(copied, lambda held: {**held, "model.vision_tower.embeddings.position_ids": torch.arange(5)[None]})
    load_workload(copied, device="cpu")
    model = load_model(LlavaForConditionalGeneration, folder("bundled-small"))
    config = model.config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    tied = build(AutoModelForImageTextToText, config)
    tied.save_pretrained(tmp_path / "tied")
    assert not any("lm_head" in key for key in load_file(tmp_path / "tied" / "model.safetensors"))
    again = load_model(LlavaForConditionalGeneration, tmp_path / "tied")
    assert again.lm_head.weight is again.get_input_embeddings().weight


def sharded(copied):
    from transformers import LlavaForConditionalGeneration

    model = load_model(LlavaForConditionalGeneration, copied)
    (copied / "model.safetensors").unlink()
    model.save_pretrained(copied, max_shard_size="400KB")
    return sorted(copied.glob("model-*.safetensors"))


@pytest.mark.parametrize("fault", ["none", "missing", "empty", "moved", "outside", "twice", "nonsense"])
def test_shards_that_the_index_names_are_there(copied, fault):
    shards = sharded(copied)
    assert len(shards) > 1
    index = copied / "model.safetensors.index.json"
    data = json.loads(index.read_text())
    if fault == "missing":
        shards[0].unlink()
    elif fault == "empty":
        save_file({}, shards[0], {"format": "pt"})
    elif fault == "moved":
        key = next(key for key, name in data["weight_map"].items() if name == shards[0].name)
        data["weight_map"][key] = shards[1].name
        index.write_text(json.dumps(data))
    elif fault == "outside":
        data["weight_map"] = {key: f"../{name}" for key, name in data["weight_map"].items()}
        index.write_text(json.dumps(data))
    elif fault == "twice":
        index.write_text(json.dumps(data)[:-1] + ', "weight_map": {}}')
    elif fault == "nonsense":
        index.write_text('{"weight_map": {"a": 1}}')
    if fault == "none":
        assert load_workload(copied, device="cpu").model is not None
        return
    with pytest.raises(EosError, match=r"index names|which lacks it|no name of a file|given twice|must say for each"):
        load_workload(copied, device="cpu")
