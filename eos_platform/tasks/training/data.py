"""Endless training batches: pictures with all their questions packed behind one set of visual tokens.

Legend: b pictures, q questions a picture, l tokens a question block, n patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from eos_platform.tasks.scenes import CONFIGS, PATCH, Split, make_scene
from eos_platform.tasks.scenes.questions import SKILLS, Question, ask
from eos_platform.tasks.scenes.render import render
from eos_platform.tasks.training.labels import patch_labels, whole_labels

HARD = ("relation", "location", "counting", "size", "color", "ground", "comparison")  # learned late: asked more often
EASY = 8  # of all the skills' questions, this many at random; the rest are second questions of the hard skills
BLOCK = 15  # tokens of the longest question with its answer and </s>
NAMES = list(SKILLS)


class Pictures(IterableDataset[dict[str, torch.Tensor]]):
    """Chunks of ``chunk`` pictures of one split; workers and ranks take turns, so no picture comes twice."""

    def __init__(self, tokenizer: Any, grid: int, split: Split, chunk: int, first: int, stride: int, count: int | None):
        self.tokenizer, self.config, self.split, self.chunk = tokenizer, CONFIGS[grid], split, chunk
        self.first, self.stride, self.count = first, stride, count
        self.known: dict[str, list[int]] = {}

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        chunk = self.first + number * self.stride
        while self.count is None or chunk * self.chunk < self.count:
            yield self._chunk(range(chunk * self.chunk, (chunk + 1) * self.chunk))
            chunk += workers * self.stride

    def _chunk(self, indices: range) -> dict[str, torch.Tensor]:
        b, q, n = len(indices), len(SKILLS), self.config.grid**2
        pixels = np.empty((b, self.config.size, self.config.size, 3), np.uint8)
        ids = np.zeros((b, q, BLOCK), np.int64)
        answers = np.zeros((b, q, BLOCK), bool)  # which tokens are to be predicted
        skills = np.full((b, q), -1, np.int64)
        places = np.full((b, q, 4), -1, np.int64)  # patch row and column of the first and second place
        patches, whole = [], []
        for row, index in enumerate(indices):
            scene = make_scene(self.split, index, self.config)
            pixels[row] = render(scene)
            patches.append(patch_labels(scene))
            whole.append(whole_labels(scene))
            rng = np.random.default_rng([index, 7])
            questions = ask(scene, rng)
            more = [question for question in ask(scene, rng) if question.skill in HARD]
            rng.shuffle(questions)
            rng.shuffle(more)
            for slot, question in enumerate([*questions[:EASY], *more, *questions[EASY:]][:q]):
                skills[row, slot] = NAMES.index(question.skill)
                self._write(question, ids[row, slot], answers[row, slot])
                for k, (x, y) in enumerate(question.places):
                    places[row, slot, 2 * k : 2 * k + 2] = (y // PATCH, x // PATCH)
        return {
            "pixels": torch.from_numpy(pixels),
            "ids": torch.from_numpy(ids),
            "answers": torch.from_numpy(answers),
            "skills": torch.from_numpy(skills),
            "places": torch.from_numpy(places),
            "patches": torch.from_numpy(np.stack(patches).reshape(b, n, -1)),
            "whole": torch.from_numpy(np.stack(whole)),
        }

    def _write(self, question: Question, ids: np.ndarray, answers: np.ndarray) -> None:
        prompt, answer = (
            self._tokens(question.text),
            [*self._tokens(" " + question.answer), self.tokenizer.eos_token_id],
        )
        end = len(prompt) + len(answer)
        ids[:end] = prompt + answer
        answers[len(prompt) : end] = True

    def _tokens(self, text: str) -> list[int]:
        """Token ids, remembered: there are few different questions, and tokenizing took a third of the time."""
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.known[text]
