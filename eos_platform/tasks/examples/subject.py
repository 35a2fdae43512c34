"""A model of any family on questions of the user's own.

subject = Examples(model, processor, {"search": examples, "validation": more, "heldout": others})
result = eos_platform.search(subject, SearchConfig(budget=0.3))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from eos_platform.common.errors import EosError, unknown
from eos_platform.costs.flops import DecoderShape, shape_of
from eos_platform.costs.profiled_flops import flops_of
from eos_platform.models.adapters.target import target_of
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.operators.spec import FEATURES, OperatorSpec, Target
from eos_platform.protocols import Example
from eos_platform.tasks.base import FROM_TOWER, Subject
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.examples.encoded import EncodedExamples, Judge, Units, check_pictures, visual_tokens
from eos_platform.tasks.prompting.encoder import EncodedPrompt, Encoder, kept_of
from eos_platform.tasks.prompting.kept import Source
from eos_platform.tasks.prompts import Prompt
from eos_platform.tasks.scenes import SPLITS, Split

TYPICAL = 256  # questions that tell what prompts usually are


class Examples(Subject):
    """A model on questions of the user's own."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        examples: Mapping[Split, Sequence[Example] | Sequence[Prompt]],
        *,
        name: str = "",
        task: str = "examples",
    ) -> None:
        """The model is frozen.

        Args:
            model: of any family that can be relaxed.
            processor: its own; None where the examples are prompts already.
            examples: by split: a search needs ``search`` and ``validation``.

        Raises:
            EosError: no examples to search on, an unknown split, or a model no search can run on.
        """
        for split in examples:
            if split not in SPLITS:
                raise unknown("split", split, SPLITS)
        if not examples.get("search"):
            raise EosError("examples: none to search on; give some as 'search'")
        self.examples = examples
        self._begin(model, processor, name, task)

    def _begin(self, model: Any, processor: Any, name: str, task: str) -> None:
        """Take a model.

        Raises:
            EosError: no search can run on it.
        """
        self.model = unwrapped(model).eval().requires_grad_(False)
        self.name, self.task, self.processor = name or type(self.model).__name__, task, processor
        self._named = name
        self._encoded: dict[tuple[Split, int], EncodedExamples] = {}
        if not self.adapter.capabilities.relaxable:
            raise EosError(f"a search cannot run on {self.adapter.family.name} models")

    @property
    def skills(self) -> tuple[str, ...]:
        """As the examples name them."""
        return tuple(
            dict.fromkeys(one.group if isinstance(one, Example) else one.skill for one in self.examples["search"])
        )

    def check(self, operator: OperatorSpec) -> None:
        """Refuse an operator that cannot be at work on the model, or that pictures would have to be encoded for.

        Raises:
            EosError: why.
        """
        super().check(operator)
        check_pictures(operator, kept_of(self.adapter))

    @property
    def features(self) -> tuple[str, ...]:
        """All but those that are read inside the vision tower."""
        return tuple(name for name in FEATURES if name not in FROM_TOWER)

    @cached_property
    def usual_units(self) -> Units:
        """What most prompts hold."""
        return Counter[Units](self._typical.units).most_common(1)[0][0]

    @cached_property
    def target(self) -> Target:
        """The model, and pictures as most prompts have them.

        Where sizes vary, all units of a prompt are one row; frames of a film are its grid.
        """
        target, units = target_of(self.model, self._named), self.usual_units
        (grid, many), *others = units
        if self.films and many > 1 and not others:
            return target.of_grid((many, *grid))
        if not self.adapter.capabilities.varies:
            return target
        return target.of_grid(grid if many == 1 and not others else (1, visual_tokens(units)))

    @cached_property
    def shape(self) -> DecoderShape:
        """Sizes of the decoder, which most prompts hand so many units."""
        return replace(shape_of(self.model), units=max(1, round(visual_tokens(self.usual_units) / self.target.tokens)))

    @cached_property
    def text_tokens(self) -> int:
        """Tokens of a typical prompt that are not visual."""
        return self._typical.text_tokens

    @property
    def _typical(self) -> EncodedExamples:
        return self.encoded("search", TYPICAL)

    def counted_flops(self, operator: OperatorSpec | None) -> int:
        """FLOPs as counted while the language model's prefill of a prompt of median length runs."""
        typical = self._typical
        seen = typical if operator is None else typical.encoded_with(operator)
        batch = seen.batch(torch.tensor([typical.middle()]))
        return flops_of(self.model, operator, batch.prefill.until(int(batch.layout.last_b[0]) + 1))

    def encoded(self, split: Split, questions: int) -> EncodedExamples:
        """The first ``questions`` of a split, or all there are.

        Raises:
            EosError: there are none.
        """
        given = self._first(split, questions)
        key = split, len(given)
        if key not in self._encoded:
            tokenizer = getattr(self.processor, "tokenizer", None)
            encoder = Encoder(self.model)
            prompts = self._prompts(given, encoder)
            again = self._prompting.again if self.processor is not None else None
            encoded = EncodedExamples(self.model, prompts, self._judge, tokenizer, encoder, again)
            encoded.content = self._prompting.name_of(encoder, given) if again else None
            self._encoded[key] = encoded
        return self._encoded[key]

    def warm(self, split: Split, questions: int, part: int, parts: int) -> None:
        """Encode one of ``parts`` equal parts of what ``encoded`` will be asked for, and keep it on disk, as far as it
        is not there: processes that are to work on the same questions share that out."""
        given = self._first(split, questions)
        if self.processor is not None and all(isinstance(one, Example) for one in given):
            self._prompting.warm(Encoder(self.model), [one for one in given if isinstance(one, Example)], part, parts)

    films = False  # several pictures of a prompt are the frames of a film
    _judge: Judge | None = None
    _distils = False  # questions come without answers

    def _first(self, split: Split, questions: int) -> Sequence[Example] | Sequence[Prompt]:
        given = self.examples.get(split, ())
        if not given:
            raise EosError(f"examples: there are none of the split '{split}', only of {', '.join(self.examples)}")
        return given[:questions]

    @cached_property
    def _prompting(self) -> Source:
        """What makes prompts of examples."""
        return Source(self.processor, self.adapter.family.answer_lead, self._distils)

    def _prompts(
        self, given: Sequence[Example] | Sequence[Prompt], encoder: Encoder
    ) -> Iterator[Prompt | EncodedPrompt]:
        yield from (one for one in given if isinstance(one, Prompt))
        if questions := [one for one in given if isinstance(one, Example)]:
            yield from counted("encoding questions", self._prompting.encoded(encoder, questions), len(questions))
