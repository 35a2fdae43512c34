"""Processors that know films, too, without torchvision: prompts as training has them."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.models.loading import processors
from eos_platform.models.loading.processors import load_processor
from eos_platform.tasks.prompts import Example, made_by
from eos_platform.tasks.scenes_v2.training.families import family

NAMES = ("bundled-small-v2", "bundled-qwen", "bundled-gemma", "bundled-smolvlm", "bundled-onevision")
WITHOUT = pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is there")


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_is_asked_as_it_was_trained(name: str) -> None:
    kin, processor = family(name.removesuffix("-v2")), load_processor(folder(name))
    tokenizer = processor.tokenizer
    for width, height in set(kin.sizes):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))
        (prompt,) = made_by(processor, [Example(image, "what color is the cat?", "dark red")])
        question = tokenizer("what color is the cat?", add_special_tokens=False).input_ids
        assert prompt.inputs["input_ids"][0].tolist() == tokenizer(kin.prompt((width, height))).input_ids + question
        assert prompt.answer == (*tokenizer(" dark red", add_special_tokens=False).input_ids, tokenizer.eos_token_id)


@WITHOUT
@pytest.mark.parametrize("name", ["bundled-qwen", "bundled-onevision"])
def test_films_alone_need_torchvision(name: str) -> None:
    from transformers import AutoProcessor

    with pytest.raises(ImportError, match=r"(?i)torchvision"):
        AutoProcessor.from_pretrained(folder(name), local_files_only=True)
    found = load_processor(folder(name))
    assert isinstance(found, type(found).__mro__[1])
    assert not hasattr(found, "video_processor")


@WITHOUT
def test_other_missing_libraries_and_folders_without_a_name_are_not_covered_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "qwen"
    shutil.copytree(folder("bundled-qwen"), place)
    for name in processors.NAMED_IN:
        if (place / name).exists():
            reported = json.loads((place / name).read_text())
            reported.pop("processor_class", None)
            (place / name).write_text(json.dumps(reported))
    with pytest.raises(ImportError, match=r"(?i)torchvision"):
        load_processor(place)

    def missing(kind: object, *args: object, **kwargs: object) -> None:
        raise ImportError("needs torchvision, all of it")

    monkeypatch.setattr(processors, "load", missing)
    with pytest.raises(EosError, match="pip install torchvision"):
        load_processor(folder("bundled-qwen"))

    def other(kind: object, *args: object, **kwargs: object) -> None:
        raise ImportError("needs librosa")

    monkeypatch.setattr(processors, "load", other)
    with pytest.raises(ImportError, match="librosa"):
        load_processor(folder("bundled-qwen"))
