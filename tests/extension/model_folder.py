"""The example family's small model with a real processor, as a folder: ``python model_folder.py FOLDER``."""

from __future__ import annotations

import sys
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from eos_platform.models.adapters import family_of_type
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import BOS, IMAGE, PAD

WORDS = "which colour is the disc where top bottom left right red green blue yellow"


def tokenizer() -> Any:
    """The words of the example task, with numbers that the small model knows."""
    words = ["<pad>", "<s>", "</s>", *WORDS.split()]
    known = {word: number for number, word in enumerate(words)} | {"<image>": IMAGE}
    made = Tokenizer(models.WordLevel(known, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    assert known["<pad>"] == PAD
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )


def save(folder: str) -> None:
    """Model and processor, as ``save_pretrained`` writes them."""
    family = family_of_type("vipllava")
    assert family is not None
    model = fresh(family.sample)
    with_class_token = {"num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
    side, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size
    images = CLIPImageProcessorPil(size={"height": side, "width": side}, crop_size={"height": side, "width": side})
    model.save_pretrained(folder)
    transformers.LlavaProcessor(images, tokenizer(), patch_size=patch, **with_class_token).save_pretrained(folder)


if __name__ == "__main__":
    save(sys.argv[1])
