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
def test_what_is_missing_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "qwen"
    shutil.copytree(folder("bundled-qwen"), place)
    for name in processors.NAMED_IN:
        if (place / name).exists():
            reported = json.loads((place / name).read_text())
            reported.pop("processor_class", None)
            (place / name).write_text(json.dumps(reported))
    with pytest.raises(EosError, match=r"its processor needs torchvision: pip install 'eos-platform\[processors\]'"):
        load_processor(place)

    for words, named, says in (
        ("needs torchvision, all of it", None, r"pip install 'eos-platform\[processors\]' \(torchvision of the build"),
        ("XProcessor requires the num2words library but it was not found:\nso", None, r"'eos-platform\[processors\]'$"),
        ("Package `num2words` is required to run SmolVLM processor. Install it with `pip install num2words`.", None,
         r"'eos-platform\[processors\]'$"),
        ("No module named 'librosa'", "librosa", "its processor needs librosa: pip install librosa$"),
        ("cannot import name 'x'", None, "its processor cannot be loaded: cannot import name 'x'$"),
    ):  # fmt: skip

        def missing(*args: object, words: str = words, named: str | None = named, **kwargs: object) -> None:
            raise ImportError(words, name=named)

        monkeypatch.setattr(processors, "load", missing)
        with pytest.raises(EosError, match=says):
            load_processor(folder("bundled-qwen"))
