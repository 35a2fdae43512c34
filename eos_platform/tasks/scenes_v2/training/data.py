"""Training batches: pictures of one size with questions packed behind one set of visual tokens.

Legend: b pictures, q questions a picture, l tokens a question block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from eos_platform.tasks.scenes_v2 import questions_of
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.layout import Split, make_scene
from eos_platform.tasks.scenes_v2.questions import SKILLS, Question, ask
from eos_platform.tasks.scenes_v2.render import quartered, render
from eos_platform.tasks.scenes_v2.training.labels import cell_labels

SLOTS = 12  # questions a picture
BLOCK = 22  # tokens of the longest question with its answer and </s>; a longer one is left out
BINS = 24  # of a place, along each side of the picture
NAMES = list(SKILLS)


class Pictures(IterableDataset[dict[str, torch.Tensor]]):
    """Chunks of ``chunk`` pictures of one size each; workers take turns, so no picture comes twice."""

    def __init__(self, tokenizer: Any, sizes: Sequence[tuple[int, int]], chunk: int, first: int = 0) -> None:
        self.tokenizer, self.sizes, self.chunk, self.first = tokenizer, list(sizes), chunk, first
        self.known: dict[str, list[int]] = {}
        self.asking = torch.ones(1, dtype=torch.bool).share_memory_()  # workers look: are there to be questions?

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            at = self.first + number
            size = self.sizes[at % len(self.sizes)]
            yield self._chunk(range(at * self.chunk, (at + 1) * self.chunk), size)
            number += workers

    def _chunk(self, indices: range, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        return self.packed([self._drawn(index, size) for index in indices], size)

    def _drawn(self, index: int, size: tuple[int, int]) -> tuple[np.ndarray, list[Question], np.ndarray]:
        scene = make_scene("train", index, size)
        draws = Draws(index, *size, 5)
        questions = draws.shuffled(ask(scene, draws)) if self.asking else []
        for _ in range(3):  # pictures that show little are asked about the same in other words
            if 0 < len(questions) < SLOTS:
                questions += draws.shuffled(ask(scene, draws))
        return render(scene), questions[:SLOTS], cell_labels(scene)

    def packed(
        self, rows: Sequence[tuple[np.ndarray, list[Question], np.ndarray | None]], size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        """(picture, at most SLOTS questions, labels) as tensors."""
        b = len(rows)
        ids = np.zeros((b, SLOTS, BLOCK), np.int64)
        answers = np.zeros((b, SLOTS, BLOCK), bool)  # which tokens are to be predicted
        skills = np.full((b, SLOTS), -1, np.int64)
        difficulty = np.zeros((b, SLOTS), np.int64)
        places = np.full((b, SLOTS, 4), -1, np.int64)  # row and column of the first and second place
        for row, (_, questions, _) in enumerate(rows):
            for slot, question in enumerate(questions):
                prompt = self._tokens(question.text)
                answer = [*self._tokens(" " + question.answer), self.tokenizer.eos_token_id]
                end = len(prompt) + len(answer)
                if end > BLOCK:
                    continue
                ids[row, slot, :end] = prompt + answer
                answers[row, slot, len(prompt) : end] = True
                skills[row, slot], difficulty[row, slot] = NAMES.index(question.skill), question.difficulty
                for k, (x, y) in enumerate(question.places[:2]):
                    places[row, slot, 2 * k : 2 * k + 2] = (
                        min(BINS - 1, y * BINS // size[1]),
                        min(BINS - 1, x * BINS // size[0]),
                    )
        batch = {
            "pixels": np.stack([picture for picture, _, _ in rows]),
            "ids": ids,
            "answers": answers,
            "skills": skills,
            "difficulty": difficulty,
            "places": places,
        }
        if rows[0][2] is not None:
            batch["cells"] = np.stack([cells for _, _, cells in rows if cells is not None]).astype(np.int16)
        return {name: torch.from_numpy(value) for name, value in batch.items()}

    def _tokens(self, text: str) -> list[int]:
        """Token ids, remembered: questions repeat, and tokenizing would take a third of the time."""
        if text not in self.known:
            if len(self.known) > 100_000:
                self.known.clear()
            self.known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.known[text]


class Exam(Pictures):
    """The task's own questions about the first pictures of a split, each picture as often as its questions need."""

    def __init__(
        self, tokenizer: Any, size: tuple[int, int], chunk: int, split: Split, pictures: range, quarter: bool = False
    ) -> None:
        super().__init__(tokenizer, [size], chunk)
        self.split, self.pictures, self.quarter = split, pictures, quarter

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        size = self.sizes[0]
        step = max(1, self.chunk // 2)
        for start in range(self.pictures.start + number * step, self.pictures.stop, workers * step):
            rows: list[tuple[np.ndarray, list[Question], np.ndarray | None]] = []
            for index in range(start, min(start + step, self.pictures.stop)):
                shown = render(make_scene(self.split, index, size))
                shown = quartered(shown) if self.quarter else shown
                questions = questions_of(self.split, index, size)
                rows += [(shown, questions[k : k + SLOTS], None) for k in range(0, len(questions), SLOTS)]
            rows += [(np.zeros_like(rows[0][0]), [], None)] * (self.chunk - len(rows))  # one shape for all
            yield self.packed(rows, size)
