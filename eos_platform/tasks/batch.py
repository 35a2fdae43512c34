"""Questions as tensors, whatever the task: batches ready for the language model, and what it answers.

Answers are judged teacher-forced: if every answer token is the most likely one after the right beginning, greedy
decoding writes exactly that answer.

Legend: b batch, s sequence, a answer tokens, d width, v vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.runtime.attach import reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Example
from eos_platform.tasks.together import group, in_portions

LARGE = 2048  # width of a token from which a few prompts keep a GPU busy


@dataclass
class Batch:
    """Some questions, ready for the language model.

    Attributes:
        prefill: what the language model is handed.
        place_ba: places whose hidden state predicts an answer token.
        target_ba: those answer tokens.
        wanted_ba: which of them exist (answers differ in length).
        index_b: question numbers.
    """

    prefill: Prefill
    place_ba: Tensor
    target_ba: Tensor
    wanted_ba: Tensor
    index_b: Tensor

    @property
    def x_bsd(self) -> Tensor:
        """Input embeddings."""
        return self.prefill.x_bsd

    @property
    def layout(self) -> Layout:
        """Where things are."""
        return self.prefill.layout


class EncodedQuestions(ABC):
    """Questions of a task, encoded for a model.

    Attributes:
        model: they are for.
        skills: of each question, what it is about.
        answer_q: long, on the model's device: of each question, how many tokens its answer has.
        text_tokens: of a typical prompt, those that are not visual.
        teacher_qad: answer states of the unreduced model, once a search has asked.
        content: names the questions with their answers, and all that their prompts are made of but the language
            model's weights; None: they have no such name.
        synchronises: whether making a batch waits for the device, so that it cannot be captured.
    """

    model: Any
    skills: list[str]
    answer_q: Tensor
    text_tokens: int
    teacher_qad: Tensor | None = None
    content: str | None = None
    synchronises = False

    @abstractmethod
    def __len__(self) -> int:
        """How many questions."""

    @abstractmethod
    def batch(self, index_b: Tensor) -> Batch:
        """The questions of these numbers, which must be alike in their pictures' sizes."""

    @abstractmethod
    def portions(self, size: int) -> Iterator[Tensor]:
        """Numbers of all questions, each once; in order, as far as they are alike in their pictures' sizes."""

    def batches(self, size: int) -> Iterator[Batch]:
        """The same as batches."""
        return map(self.batch, self.portions(size))

    @abstractmethod
    def mean_question(self) -> Tensor:
        """The mean direction of all questions' text (d,)."""

    @abstractmethod
    def example(self, number: int) -> Example:
        """A question in words, with its picture.

        Raises:
            EosError: it came as a prompt, not in words.
        """

    @property
    @abstractmethod
    def about(self) -> Sequence[int]:
        """Of each question, the number of the picture it is about."""

    @abstractmethod
    def middle(self) -> int:
        """The number of a question of median length, about a picture of the usual size."""

    def shown(self, number: int) -> tuple[tuple[int, int], int] | None:
        """Rows and columns of visual tokens that show a question's whole picture, and the place of the first of them.

        None: its picture is of another size than most.
        """
        raise NotImplementedError

    def scores(self, batch: Batch, operator: OperatorSpec | None = None) -> Tensor:
        """What the model's answers are worth (b,), with an operator at work: true or false, or from 0 to 1."""
        with reducing(self.model, operator, batch.layout) if operator else nullcontext():
            return answered(self.model, batch)

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Numbers of ``size`` questions for one batch."""
        return rng.choice(len(self), size, replace=False)

    def heaviest(self, size: int) -> Tensor:
        """Numbers of ``size`` questions about pictures of the most visual tokens; some of them again if need be."""
        return torch.arange(size) % len(self)

    @property
    @abstractmethod
    def answer_places(self) -> int:
        """Places for the tokens of an answer, as many as the longest has."""

    @property
    def mean_share(self) -> float:
        """Tokens of a question, over those of the heaviest."""
        return 1.0

    @property
    def feature_bytes(self) -> int:
        """What is kept of the pictures."""
        return 0

    def seeing(self, operator: OperatorSpec | None, batch: int) -> Callable[[], Any]:
        """A function that encodes the pictures of so many typical prompts, with what the operator does in the tower.

        Raises:
            EosError: the pictures are not there any more.
        """
        raise EosError("the pictures of these questions are not there any more: how long they take cannot be measured")

    def encoded_with(self, operator: OperatorSpec) -> EncodedQuestions:
        """These questions with the pictures as the operator has them leave the vision tower, ready for its sites."""
        return self


def answer_states(model: Any, batch: Batch) -> Tensor:
    """Hidden states that predict the answer tokens (b, a, d), from one pass of the language model (or its adapter's).

    Runs with whatever operator is on the model (``reducing`` or ``relaxed`` with ``batch.layout``).
    """
    return adapter_of(model).states_at(batch.place_ba, batch.prefill)


def exact(logits_bav: Tensor, batch: Batch) -> Tensor:
    """Which questions are answered exactly (b,)."""
    return ((logits_bav.argmax(-1) == batch.target_ba) | ~batch.wanted_ba).all(-1)


def answered(model: Any, batch: Batch) -> Tensor:
    """Which questions the model answers exactly (b,), with whatever operator is on it."""
    return exact(adapter_of(model).logits(answer_states(model, batch)), batch)


@torch.no_grad()
def ask(
    encoded: EncodedQuestions,
    operator: OperatorSpec | None = None,
    size: int | None = None,
    answered: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """What the model's answers to all questions are worth (questions,), with an operator deployed on it.

    Args:
        encoded: the questions.
        operator: None: the model as it is.
        size: questions in a batch.
        answered: told, after each batch, how many questions it had.
    """
    if operator is not None:
        encoded = encoded.encoded_with(operator)
    home = adapter_of(encoded.model).home
    scores_q = torch.zeros(len(encoded), dtype=torch.float64, device=home)
    portions = list(encoded.portions(size or at_once(encoded.model)))
    for index_b, worth_b in in_portions(portions, lambda index_b: encoded.scores(encoded.batch(index_b), operator)):
        scores_q[index_b.to(scores_q.device)] = worth_b.to(scores_q)
        answered(len(index_b))
    scores: np.ndarray = group().sum_(scores_q).cpu().numpy()
    return scores


def at_once(model: Any) -> int:
    """Questions that a model is asked at once where nobody says how many: enough of them to keep the device busy."""
    if model.device.type != "cuda":
        return 32
    return 256 if adapter_of(model).width < LARGE else 32
