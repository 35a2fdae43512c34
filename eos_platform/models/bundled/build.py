"""Make the bundled LLaVAs anew: architecture, tokenizer and processor, all of Hugging Face's own classes."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

PATCH = 14
SPECIAL = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "image": "<image>"}
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # pixels reach the tower in [-1, 1]
Shape = dict[str, tuple[int, int, int, int]]  # width, intermediate, layers, heads
SHAPES: dict[int, Shape] = {
    24: {"vision": (256, 1024, 5, 4), "text": (256, 576, 8, 8)},
    12: {"vision": (128, 512, 3, 4), "text": (128, 352, 6, 4)},
}


def new_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the benchmark's words: common words are one token, sign letters are spelled."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=640,
            min_frequency=2,
            special_tokens=list(SPECIAL.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL['bos']} $A", special_tokens=[(SPECIAL["bos"], bpe.token_to_id(SPECIAL["bos"]))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=SPECIAL["pad"],
        bos_token=SPECIAL["bos"],
        eos_token=SPECIAL["eos"],
        additional_special_tokens=[SPECIAL["image"]],
        padding_side="left",
    )


def new_processor(tokenizer: PreTrainedTokenizerFast, grid: int) -> LlavaProcessor:
    """Pictures of ``grid * PATCH`` pixels a side and prompts ``<image>question`` to model inputs."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = grid * PATCH
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


# a picture and a question; an answer follows behind a space
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %} {% endif %}{% if m['content'] is string %}"
    "{{ m['content'] | replace('<image>\\n', '<image>') }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
)


def new_model(grid: int, vocabulary: int, shape: Shape | None = None) -> LlavaForConditionalGeneration:
    """Randomly initialised, float32: a CLIP tower, a two-layer projector, a Llama decoder with tied embeddings.

    Args:
        grid: visual tokens a side.
        vocabulary: of the tokenizer.
        shape: of tower and decoder; default: that of the bundled model of this grid.
    """
    shape = shape or SHAPES[grid]
    width, intermediate, layers, heads = shape["vision"]
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=grid * PATCH,
        patch_size=PATCH,
        projection_dim=width,
    )
    width, intermediate, layers, heads = shape["text"]
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=3,
        image_seq_length=grid * grid,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )
    config.pad_token_id = 0
    model = LlavaForConditionalGeneration(config)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0, do_sample=False)
    return model
