"""How a row's question is put to a model: as it is, with its options, with an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eos_platform.common.errors import EosError, shown
from eos_platform.tasks.data.question import letter

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
NAMED = {"plain": "{question}", "short": "{question}" + SHORT}


@dataclass(frozen=True)
class Wording:
    """A prompt's text.

    Attributes:
        text: with ``{question}``; empty: the question, and where there are choices these and LLaVA's instruction.
    """

    text: str = ""

    @classmethod
    def of(cls, prompt: str | None) -> Wording:
        """What a user named.

        Raises:
            EosError: neither a name nor a text with ``{question}``.
        """
        if prompt is None:
            return cls()
        if prompt in NAMED:
            return cls(NAMED[prompt])
        if not isinstance(prompt, str) or "{question}" not in prompt:
            raise EosError(f"prompt: plain, short, or a text with {{question}} is expected, not {shown(prompt)}")
        return cls(prompt.replace("\\n", "\n"))

    def put(self, question: str, choices: Sequence[str] = ()) -> str:
        """The text that is asked."""
        asked = question + options(choices) if choices else question
        if not self.text:
            return asked + LETTER if choices else asked
        return self.text.replace("{question}", asked)


def options(choices: Sequence[str]) -> str:
    """``A. ...`` a line."""
    return "".join(f"\n{letter(place)}. {choice}" for place, choice in enumerate(choices))
