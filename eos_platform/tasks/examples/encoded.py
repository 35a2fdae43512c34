"""Prompts encoded by the model's own body, its pictures seen once.

Batches are made of questions that are alike in the sizes of their pictures, so that every shape is static.
Legend: b batch, s sequence, a answer tokens, d width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.prefill import bytes_of
from eos_platform.models.attention.text_queries import question
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Example
from eos_platform.tasks.answers.greedy import ends_of, written
from eos_platform.tasks.batch import Batch, EncodedQuestions
from eos_platform.tasks.prompting.encoder import EncodedPrompt, Encoder, Units
from eos_platform.tasks.prompts import Prompt

Judge = Callable[[str, Example], float]  # what an answer is worth
A_TOKEN = ("input_ids", "attention_mask")  # inputs of one number a token, beside those of types


class EncodedExamples(EncodedQuestions):
    """Prompts, with what the model's vision tower made of their pictures."""

    synchronises = True

    def __init__(
        self,
        model: Any,
        prompts: Iterable[Prompt | EncodedPrompt],
        judge: Judge | None = None,
        tokenizer: Any = None,
        encoder: Encoder | None = None,
        again: Callable[[Example], Prompt] | None = None,
    ) -> None:
        """Every picture goes through the tower here, once; the pictures themselves are not kept.

        Args:
            model: that is asked.
            prompts: the questions.
            judge: says what an answer is worth that the model wrote; None: it is right to the last token, or wrong.
            tokenizer: to read what was written.
            encoder: of the model, that encoded prompts are from; None: a new one.
            again: makes the prompt of an example once more, with its pixels.

        Raises:
            EosError: there are no prompts, or one without pictures.
        """
        self.model = model
        self.judge, self.tokenizer = judge, tokenizer
        self.encoder = encoder or Encoder(model)
        self.adapter, self.device, self.seen = self.encoder.adapter, self.encoder.device, self.encoder.seen
        self._tells = False  # batches come with what was read in the tower
        self.prompts: list[Prompt] = []
        self.units: list[Units] = []
        self._again = again
        self._pictures: dict[Units, Mapping[str, Tensor]] = {}  # one of each size, to be timed
        for prompt in prompts:
            encoded = prompt if isinstance(prompt, EncodedPrompt) else self.encoder(prompt)
            self.prompts.append(encoded.prompt)
            self.units.append(encoded.units)
            if encoded.pixels is not None:
                self._pictures.setdefault(encoded.units, encoded.pixels)
        if not self.prompts:
            raise EosError("there are no questions")
        self.skills = [prompt.skill for prompt in self.prompts]
        self.lengths = [prompt.inputs["input_ids"].shape[1] for prompt in self.prompts]
        visual = [visual_tokens(units) for units in self.units]
        self.text_tokens = round((sum(self.lengths) - sum(visual)) / len(visual))
        answers = [len(prompt.answer) for prompt in self.prompts]
        self.answer_q, self.longest = torch.tensor(answers, device=self.device), max(answers)
        self.groups: dict[Units, list[int]] = {}
        for number, units in enumerate(self.units):
            self.groups.setdefault(units, []).append(number)

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def about(self) -> list[int]:
        """Of each question, the number of its picture."""
        return [prompt.picture for prompt in self.prompts]

    def example(self, number: int) -> Example:
        """A question in words, with its picture.

        Raises:
            EosError: it came as a prompt.
        """
        example = self.prompts[number].example
        if example is None:
            raise EosError("these questions came as prompts: there are no pictures of them to show")
        return example

    @property
    def usual(self) -> Units:
        """What most prompts hold."""
        return max(self.groups, key=lambda units: len(self.groups[units]))

    def middle(self) -> int:
        """The number of a question of median length, about a picture of the usual size."""
        members = sorted(self.groups[self.usual], key=lambda number: self.lengths[number])
        return members[len(members) // 2]

    def shown(self, number: int) -> tuple[tuple[int, int], int] | None:
        """The unit that shows the whole picture; None: the picture is of another size than most."""
        units = self.units[number]
        if units != self.usual:
            return None
        places = [
            (grid, sum(rows * columns * many for (rows, columns), many in units[:group]) + unit * grid[0] * grid[1])
            for group, (grid, many) in enumerate(units)
            for unit in range(many)
        ]
        return places[self.adapter.family.whole]

    def scores(self, batch: Batch, operator: OperatorSpec | None = None) -> Tensor:
        """What the model's answers are worth (b,)."""
        if self.judge is None:
            return super().scores(batch, operator)
        numbers = batch.index_b.tolist()
        most = [prompt.most or len(prompt.answer) for prompt in (self.prompts[number] for number in numbers)]
        generated = written(self, batch, operator, most, ends_of(self.model, self.tokenizer))
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in generated]
        worth = [self.judge(text, self.example(number)) for text, number in zip(texts, numbers, strict=True)]
        return torch.tensor(worth, dtype=torch.float64, device=self.device)

    def seeing(self, operator: OperatorSpec | None, batch: int) -> Callable[[], Any]:
        """A function that encodes a picture of the usual size, so many times at once."""
        if self.usual not in self._pictures and self._again is not None:
            inputs = self._again(self.example(self.middle())).inputs
            self._pictures[self.usual] = self.encoder.of_pictures(inputs)
        if self.usual not in self._pictures:
            return super().seeing(operator, batch)
        one = self._pictures[self.usual]
        inputs = {name: torch.cat([value] * batch).to(self.device) for name, value in one.items()}
        return lambda: self.adapter.images(inputs)

    def batch(self, index_b: Tensor, answers: Sequence[tuple[int, ...]] | None = None) -> Batch:
        """The questions of these numbers, padded behind their answers.

        Args:
            index_b: question numbers.
            answers: tokens to stand there instead of the right answers.
        """
        numbers = index_b.tolist()
        prompts = [self.prompts[number] for number in numbers]
        if answers is not None:
            prompts = [replace(prompt, answer=answer) for prompt, answer in zip(prompts, answers, strict=True)]
        most = self.longest if answers is None else max(map(len, answers))
        whole = [length + len(prompt.answer) for length, prompt in zip(self._of(numbers), prompts, strict=True)]
        longest = max(whole)
        inputs: dict[str, Any] = {}
        for name in prompts[0].inputs:
            values = [prompt.inputs[name] for prompt in prompts]
            if not self._a_token(name, prompts[0]):
                inputs[name] = torch.cat(values).to(self.device)
                continue
            rows = []
            for value, prompt in zip(values, prompts, strict=True):
                row_s = torch.cat((value[0], self._answer(name, prompt, value)))
                rows.append(nn.functional.pad(row_s, (0, longest - len(row_s))))
            inputs[name] = torch.stack(rows).to(self.device)
        place_s = torch.arange(longest, device=self.device)
        prompt_b = torch.tensor(self._of(numbers), device=self.device)
        whole_b = torch.tensor(whole, device=self.device)
        answer_bs = (place_s >= prompt_b[:, None]) & (place_s < whole_b[:, None])
        inputs["attention_mask"] = (place_s < whole_b[:, None]).long()
        prefill = self.adapter.encode(self.encoder.with_pictures(inputs, prompts), answer_bs)
        if self._tells:
            features = {**prefill.layout.features, **self.encoder.told(prefill.layout.visual_bn, prompts)}
            prefill = replace(prefill, layout=replace(prefill.layout, features=features))
        target_ba = torch.tensor(
            [[*prompt.answer, *[0] * (most - len(prompt.answer))] for prompt in prompts], device=self.device
        )
        step_a = torch.arange(most, device=self.device)
        wanted_ba = step_a < (whole_b - prompt_b)[:, None]
        place_ba = torch.where(wanted_ba, (prompt_b - 1)[:, None] + step_a, 0)
        return Batch(prefill, place_ba, target_ba, wanted_ba, index_b.to(self.device))

    def _of(self, numbers: Sequence[int]) -> list[int]:
        return [self.lengths[number] for number in numbers]

    def _a_token(self, name: str, prompt: Prompt) -> bool:
        """Whether an input has a number for every token."""
        return name in A_TOKEN or (name.endswith("type_ids") and prompt.inputs[name].dim() == 2)

    def _answer(self, name: str, prompt: Prompt, like: Tensor) -> Tensor:
        """What an input holds for the tokens of an answer."""
        if name == "input_ids":
            return torch.tensor(prompt.answer, dtype=like.dtype)
        value = 1 if name == "attention_mask" else self.adapter.family.answers_typed.get(name, 0)
        return torch.full((len(prompt.answer),), value, dtype=like.dtype)

    def portions(self, size: int) -> Iterator[Tensor]:
        """Numbers of all questions, those of pictures of one size together."""
        for members in self.groups.values():
            for start in range(0, len(members), size):
                yield torch.tensor(members[start : start + size])

    def heaviest(self, size: int) -> Tensor:
        """Numbers of ``size`` questions about pictures of the most visual tokens, the longest first."""
        members = sorted(self.groups[max(self.groups, key=visual_tokens)], key=lambda number: -self.lengths[number])
        return torch.tensor([members[place % len(members)] for place in range(size)])

    @property
    def mean_share(self) -> float:
        """Tokens of a question, over those of the heaviest."""
        return sum(self.lengths) / len(self.lengths) / max(self.lengths)

    @property
    def answer_places(self) -> int:
        """Places for the tokens of an answer."""
        return self.longest

    @property
    def feature_bytes(self) -> int:
        """What the tower made of the pictures."""
        return sum(bytes_of(one) for one in self.seen.values())

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Numbers of ``size`` questions about pictures of one size, which is drawn first; again where it has fewer."""
        members = list(self.groups.values())
        if len(members) == 1:
            return rng.choice(len(self), size, replace=False)
        share = np.asarray([len(one) for one in members]) / len(self)
        mine = np.asarray(members[rng.choice(len(members), p=share)])
        return mine[rng.choice(len(mine), size, replace=len(mine) < size)]

    @torch.no_grad()
    def mean_question(self) -> Tensor:
        """The mean direction of all questions' text (d,)."""
        directions = [question(batch.x_bsd, batch.layout.text_bs).float() for batch in self.batches(64)]
        return torch.cat(directions).mean(0)

    def encoded_with(self, operator: OperatorSpec) -> EncodedQuestions:
        """Themselves, with what the operator reads in the tower, as far as that is kept.

        Raises:
            EosError: it reads more, or acts there.
        """
        check_pictures(operator, self.encoder.keeps)
        if self._tells or not OperatorPlan.of(operator).tower_features:
            return self
        told = copy.copy(self)
        told._tells = True
        return told


def check_pictures(operator: OperatorSpec, kept: Collection[str] = ()) -> None:
    """Refuse operators that pictures would have to be encoded for.

    Args:
        operator: the operator.
        kept: what is read in the vision tower when pictures are encoded.

    Raises:
        EosError: it acts in the vision tower, or reads more there.
    """
    plan = OperatorPlan.of(operator)
    if plan.acts_in_tower:
        raise EosError(f"operator '{operator.name}' acts in the vision tower; pictures of this task are seen without")
    if reads := sorted(plan.tower_features - set(kept)):
        raise EosError(
            f"operator '{operator.name}' reads {', '.join(reads)} in the vision tower, which is not kept for this task"
        )


def visual_tokens(units: Units) -> int:
    """Of a prompt that holds such units."""
    return sum(rows * columns * many for (rows, columns), many in units)
