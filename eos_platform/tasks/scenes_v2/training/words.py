"""The tokenizer: one vocabulary for all families, so that one set of batches serves them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from eos_platform.tasks.scenes_v2.catalogue import COLORS, KINDS, WORDS
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.layout import make_scene
from eos_platform.tasks.scenes_v2.questions import ask

SPECIAL = ("<pad>", "<s>", "</s>", "<image>")
PAD, BOS, EOS, IMAGE = range(4)
SPELLED = ("title", "entry", "word", "search", "cell", "rows", "best")


def corpus(scenes: int = 1500) -> Iterable[str]:
    """Questions and answers, the words of documents spelled apart: they are read letter by letter, names are not."""
    documents = set(WORDS)
    for index in range(scenes):
        for question in ask(make_scene("train", index, 336), Draws(index, 7)):
            words = f"{question.text[:-1]} {question.answer}".split()
            if question.skill in SPELLED:
                code = question.answer if len(question.answer) == 3 and question.skill == "entry" else ""
                words = [" ".join(word) if word in documents or word == code else word for word in words]
            yield " ".join(words)
    for word in (*KINDS, *COLORS):
        yield from [f"the {word}"] * 40  # rare kinds are one token too


def new_tokenizer(lines: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE: template words and kinds are one token, words of documents several, digits always single."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        corpus() if lines is None else lines,
        trainers.BpeTrainer(
            vocab_size=1536,
            min_frequency=20,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def with_specials(tokenizer: PreTrainedTokenizerFast, names: Sequence[str]) -> dict[str, int]:
    """Add a family's own special tokens behind the vocabulary; their numbers by name."""
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", *names]})
    known = tokenizer.get_vocab()
    return {name: known[name] for name in ("<image>", *names)}
