"""Processors of several families with small tokenizers; none needs torchvision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from eos_platform.models.conformance.zoo import IMAGE, VIDEO

TEMPLATE = (
    "{% for m in messages %}w3 {% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE {% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} w4\n{% endif %}"
)


def tokenizer(image: str, more: Sequence[str] = (), named: Mapping[str, str] | None = None) -> Any:
    """Words w3 to w79 and a few more, with the numbers that the small models know them by.

    Args:
        image: the word for a picture.
        more: special words.
        named: special words that are attributes, as a model's own ``tokenizer_config.json`` has them.
    """
    words = ["<pad>", "<s>", "</s>", *(f"w{number}" for number in range(3, 80)), *more]
    known = {word: number for number, word in enumerate(words)} | {image: IMAGE, "<video>": VIDEO}
    # no number between is free: words that a processor adds would be given it
    known |= {f"unused{number}": number for number in range(IMAGE) if number not in known.values()}
    made = Tokenizer(models.WordLevel(known, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        **(
            {"extra_special_tokens": dict(named)} if named else {"additional_special_tokens": [image, "<video>", *more]}
        ),
    )


def next_processor() -> Any:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 8},
        crop_size={"height": 8, "width": 8},
        image_grid_pinpoints=[[8, 16], [16, 8], [16, 16], [8, 24]],
    )
    template = TEMPLATE.replace("IMAGE", "<image>")
    return hf.LlavaNextProcessor(
        images,
        tokenizer("<image>"),
        patch_size=2,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def pali_processor() -> Any:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    images = SiglipImageProcessorPil(size={"height": 8, "width": 8})
    images.image_seq_length = 16
    return hf.PaliGemmaProcessor(images, tokenizer("<image>", named={"image_token": "<image>"}))


def gemma_processor() -> Any:
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    named = {"image_token": "<img>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    words = tokenizer("<img>", ("<boi>", "<eoi>"), named)
    images = Gemma3ImageProcessorPil(size={"height": 16, "width": 16})
    return hf.Gemma3Processor(images, words, image_seq_length=16, chat_template=TEMPLATE.replace("IMAGE", "<boi>"))


def idefics_processor() -> Any:
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    words = tokenizer("<image>", ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>"))
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 16}, max_image_size={"longest_edge": 16}, do_image_splitting=False
    )
    return hf.Idefics3Processor(images, words, image_seq_len=16, chat_template=TEMPLATE.replace("IMAGE", "<image>"))


UNSAID = [0, 1, 2, *range(80, 100)]  # all but words
MADE: dict[str, Callable[[], Any]] = {
    "LLaVA-NeXT": next_processor,
    "PaliGemma": pali_processor,
    "Gemma 3": gemma_processor,
    "Idefics3": idefics_processor,
}
