"""Encoded prompts from disk where they were encoded before, in this process or another; made, and kept, where not.

They lie beside what vision towers made of drawn pictures (``tasks/cache.py``: bounded, checked when read, never in the
way), in files of ``CHUNK`` questions each, so that what was encoded before an interrupt is not lost, and more questions
of the same data find those before them. On the host they are mapped, not held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from torch import Tensor

from eos_platform.protocols import Example
from eos_platform.tasks import cache
from eos_platform.tasks.prompting import chunks
from eos_platform.tasks.prompting.encoder import EncodedPrompt, Encoder
from eos_platform.tasks.prompting.identity import of_model, of_processor
from eos_platform.tasks.prompting.once import Once
from eos_platform.tasks.prompts import Prompt, made_by

CHUNK = 128
SHARE = 0.9  # of the cache, that one set of questions may take


class Source:
    """A model and its processor, which make the same of the same questions."""

    def __init__(self, processor: Any, lead: str, unanswered: bool) -> None:
        """Take a processor; see ``made_by``."""
        self.processor, self.lead, self.unanswered = processor, lead, unanswered
        self._identity: str | None = None
        self._told = False

    def encoded(self, encoder: Encoder, examples: Sequence[Example]) -> Iterator[EncodedPrompt]:
        """The prompts of examples, in order, their pictures in ``encoder.seen``.

        Raises:
            EosError: see ``made_by``.
        """
        once, held = Once(self.processor), 0
        for start in range(0, len(examples), CHUNK):
            some = examples[start : start + CHUNK]
            key, fresh = self._key(encoder, once, some)
            result = self._from_disk(key, encoder, some, fresh, once) if key else None
            if result is None:
                made = made_by(self.processor, some, self.lead, self.unanswered, once, start)
                if not key or held >= SHARE * cache.limit():
                    yield from map(encoder, made)
                    continue
                encoded = [encoder(prompt) for prompt in made]
                if self._save(key, encoder, encoded, fresh):
                    result = self._from_disk(key, encoder, some, fresh, once)
                if result is None:
                    yield from encoded
                    continue
            held += result[1]
            yield from result[0]

    def warm(self, encoder: Encoder, examples: Sequence[Example], part: int, parts: int) -> None:
        """Have every ``parts``-th chunk on disk, from the ``part``-th on; the others are other processes'.

        Args:
            encoder: that has seen no picture yet.
            examples: as ``encoded`` will be asked for, from the first on.
        """
        once, before = Once(self.processor), set[int]()
        for chunk, start in enumerate(range(0, len(examples), CHUNK)):
            some = examples[start : start + CHUNK]
            if chunk % parts == part:
                key, fresh = self._key(encoder, once, some, before)
                if key is None:
                    return
                if self._from_disk(key, encoder, some, fresh, once) is None:
                    made = made_by(self.processor, some, self.lead, self.unanswered, once, start)
                    self._save(key, encoder, [encoder(prompt) for prompt in made], fresh)
            before.update(once.number(one) for one in some)

    def again(self, example: Example) -> Prompt:
        """An example's prompt, with its pixels."""
        return next(made_by(self.processor, [example], self.lead, self.unanswered))

    def identity(self, encoder: Encoder) -> str | None:
        """A name for what makes prompts of questions; None: they cannot be kept."""
        if not self._told:
            processor = of_processor(self.processor) if cache.cache_folder() is not None else None
            if processor is not None:
                self._identity = repr((of_model(encoder.adapter), processor, self.lead, self.unanswered))
            self._told = True
        return self._identity

    def name_of(self, encoder: Encoder, examples: Sequence[Any]) -> str | None:
        """A name for these questions and all that prompts are made of; None: not everything has one."""
        if not all(isinstance(one, Example) and one.content for one in examples) or self.identity(encoder) is None:
            return None
        digest = hashlib.sha256(str(self.identity(encoder)).encode())
        for one in examples:
            facts = one.content, one.question, one.answers, getattr(one, "most", 0)
            digest.update(repr(facts).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _key(
        self, encoder: Encoder, once: Once, some: Sequence[Example], before: Collection[int] = ()
    ) -> tuple[str | None, list[int]]:
        """The name of a chunk, and the numbers of the pictures that come up in it first; ``before``: in none earlier,
        beside those that are seen."""
        name = self.name_of(encoder, some)
        if name is None:
            return None, []
        about = [once.number(one) for one in some]
        fresh = list(dict.fromkeys(number for number in about if number not in encoder.seen and number not in before))
        place = {number: place for place, number in enumerate(fresh)}
        known = [place.get(number, -1) for number in about]
        return hashlib.sha256(f"{name}{known}".encode()).hexdigest()[:32], fresh

    def _from_disk(
        self,
        key: str,
        encoder: Encoder,
        some: Sequence[Example],
        fresh: Sequence[int],
        once: Once,
    ) -> tuple[list[EncodedPrompt], int] | None:
        found = chunks.load(key, encoder.adapter.parts.body, bool(encoder.keeps))
        if found is None or len(found[0]) != len(some) or len(found[1]) != len(fresh):
            return None
        received: Sequence[Tensor | None] = found[3] or [None] * len(fresh)
        for number, seen, received_n in zip(fresh, found[1], received, strict=True):
            encoder.keep(number, seen, received_n)
        result = [
            EncodedPrompt(
                Prompt(one.inputs, one.answer, once.number(example), example.group, example, one.most), one.units
            )
            for one, example in zip(found[0], some, strict=True)
        ]
        return result, found[2]

    def _save(self, key: str, encoder: Encoder, encoded: Sequence[EncodedPrompt], fresh: Sequence[int]) -> bool:
        seen = [encoder.seen[number] for number in fresh]
        if not all(chunks.can_be_kept(one, encoder.adapter.parts.body) for one in seen):
            return False
        prompts = [chunks.Kept(one.prompt.inputs, one.prompt.answer, one.prompt.most, one.units) for one in encoded]
        received = [encoder.received[number] for number in fresh] if encoder.keeps else []
        return chunks.save(key, prompts, seen, received) > 0
