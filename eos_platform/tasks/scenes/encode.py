"""The questions of ``scenes`` as tensors: pictures encoded once, prompts with their answers behind them.

A sequence is <s>, the n visual tokens, the prompt, the answer, padding: made on the device, so that a search's step
that begins with it waits for nothing.

Legend: m pictures, q questions, b a batch of them, n visual tokens, t text after the picture, a answer tokens, d width,
s = 1 + n + t.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.attention.text_queries import question
from eos_platform.models.runtime.layout import Layout, VisionFeatures, concatenated
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Example
from eos_platform.tasks import cache
from eos_platform.tasks.batch import Batch, EncodedQuestions, answer_states, exact
from eos_platform.tasks.scenes.questions import Question, ask
from eos_platform.tasks.scenes.render import render
from eos_platform.tasks.scenes.scene import SCENE_VERSION, SPLITS, SceneConfig, Split, make_scene
from eos_platform.tasks.together import stays_on

__all__ = ["Batch", "Encoded", "answer_states", "exact", "first_questions", "questions_of"]


def questions_of(split: Split, index: int, config: SceneConfig) -> list[Question]:
    """The questions asked about one picture; the same every time."""
    rng = np.random.default_rng([SCENE_VERSION, SPLITS.index(split), index, config.grid, 1])
    return ask(make_scene(split, index, config), rng)


def drawn(split: Split, index: int, config: SceneConfig) -> Image.Image:
    """The picture of one scene."""
    return Image.fromarray(render(make_scene(split, index, config)))


def first_questions(split: Split, count: int, config: SceneConfig) -> tuple[list[int], list[Question]]:
    """The first ``count`` questions of a split, and the picture each is about."""
    pictures: list[int] = []
    questions: list[Question] = []
    index = 0
    while len(questions) < count:
        drawn_here = questions_of(split, index, config)[: count - len(questions)]
        pictures += [index] * len(drawn_here)
        questions += drawn_here
        index += 1
    return pictures, questions


class Encoded(EncodedQuestions):
    """The first questions of a split, with the pictures' features on the model's device."""

    def __init__(self, model: Any, tokenizer: Any, split: Split, count: int, config: SceneConfig) -> None:
        self.model = model
        self.split, self.config = split, config
        pictures, self.questions = first_questions(split, count, config)
        self.skills = [question.skill for question in self.questions]
        device = model.device
        self.picture_q = torch.tensor(pictures, device=device)
        self.pictures = pictures[-1] + 1
        self._pixels: np.ndarray | None = None  # kept once they are asked for again
        self.adapter = adapter_of(model)
        self.embedding = model.get_input_embeddings()
        size = self.pictures * config.grid**2 * self.adapter.width * (torch.finfo(model.dtype).bits // 8)
        # where the pictures' features lie; from the host they come as they are needed, which waits for the device
        self.home = device if stays_on(device, size) else torch.device("cpu")
        self.synchronises = self.home != device
        self.features_mnd, self.vision_features = self._first_encoding()
        self._base: Encoded | None = None  # whose pictures these are seen otherwise
        self._view: tuple[OperatorSpec, Encoded] | None = None  # the latest
        known: dict[str, list[int]] = {}

        def ids(text: str) -> list[int]:
            if text not in known:
                known[text] = tokenizer(text, add_special_tokens=False).input_ids
            return known[text]

        prompts = [ids(question.text) for question in self.questions]
        answers = [[*ids(" " + question.answer), tokenizer.eos_token_id] for question in self.questions]
        t, a = max(len(p) + len(w) for p, w in zip(prompts, answers, strict=True)), max(map(len, answers))
        text_qt = np.full((count, t), tokenizer.pad_token_id, np.int64)
        target_qa = np.zeros((count, a), np.int64)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            text_qt[row, : len(prompt) + len(answer)] = prompt + answer
            target_qa[row, : len(answer)] = answer
        self.text_qt = torch.from_numpy(text_qt).to(device)
        self.target_qa = torch.from_numpy(target_qa).to(device)
        self.prompt_q = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.answer_q = torch.tensor([len(answer) for answer in answers], device=device)
        self.bos = int(tokenizer.bos_token_id)
        self.text_tokens = 1 + round(sum(map(len, prompts)) / count)  # <s> and a typical prompt

    def __len__(self) -> int:
        return len(self.questions)

    def batch(self, index_b: Tensor) -> Batch:
        """The questions of these numbers."""
        text_bt, prompt_b, answer_b = self.text_qt[index_b], self.prompt_q[index_b], self.answer_q[index_b]
        picture_b = self.picture_q[index_b]
        embed = self.embedding
        bos_b1d = embed(torch.full_like(text_bt[:, :1], self.bos))
        features_bnd = self.features_mnd[picture_b.to(self.home)].to(picture_b.device)
        x_bsd = torch.cat([bos_b1d, features_bnd, embed(text_bt)], 1)
        b, n, t = len(index_b), self.features_mnd.shape[1], text_bt.shape[1]
        step_t = torch.arange(t, device=text_bt.device)
        head = torch.ones(b, 1 + n, dtype=torch.bool, device=text_bt.device)
        prompt_bt = step_t < prompt_b[:, None]
        valid_bt = step_t < (prompt_b + answer_b)[:, None]
        vision = self.vision_features.rows(lambda tensor: tensor[picture_b])
        layout = Layout(
            visual_bn=torch.arange(1, 1 + n, device=text_bt.device).expand(b, -1),
            text_bs=torch.cat([~head, prompt_bt], 1),
            last_b=n + prompt_b,
            valid_bs=torch.cat([head, valid_bt], 1),
            features=vision.features,
            seen=vision.seen,
        )
        step_a = torch.arange(self.target_qa.shape[1], device=text_bt.device)
        wanted_ba = step_a < answer_b[:, None]
        place_ba = torch.where(wanted_ba, (n + prompt_b)[:, None] + step_a, 0)
        prefill = Prefill(x_bsd, layout, layout.valid_bs.long())  # masked by padding alone
        return Batch(prefill, place_ba, self.target_qa[index_b], wanted_ba, index_b)

    @property
    def answer_places(self) -> int:
        """Places for the tokens of an answer."""
        return self.target_qa.shape[1]

    @property
    def feature_bytes(self) -> int:
        """Of the pictures' features, on the device and on disk."""
        return self.features_mnd.numel() * self.features_mnd.element_size()

    @torch.no_grad()
    def mean_question(self) -> Tensor:
        """The mean direction of all questions' text (d,)."""
        embed, directions = self.embedding, []
        step_t = torch.arange(self.text_qt.shape[1], device=self.text_qt.device)
        for text_bt, prompt_b in zip(self.text_qt.split(1024), self.prompt_q.split(1024), strict=True):
            directions.append(question(embed(text_bt), step_t < prompt_b[:, None]).float())
        return torch.cat(directions).mean(0)

    def portions(self, size: int) -> Iterator[Tensor]:
        """Numbers of all questions in order."""
        for start in range(0, len(self), size):
            yield torch.arange(start, min(start + size, len(self)), device=self.text_qt.device)

    @property
    def about(self) -> list[int]:
        """Of each question, the number of its picture."""
        pictures: list[int] = self.picture_q.tolist()
        return pictures

    def example(self, number: int) -> Example:
        """A question in words, with its picture."""
        question, index = self.questions[number], int(self.picture_q[number])
        image = partial(drawn, self.split, index, self.config)
        return Example(image, question.text, question.answer, question.skill, f"{self.split}-{index}")

    def middle(self) -> int:
        """The number of a question of median length."""
        return int(torch.argsort(self.prompt_q, stable=True)[len(self) // 2])

    def shown(self, number: int) -> tuple[tuple[int, int], int]:
        """All of the picture's tokens."""
        return (self.config.grid, self.config.grid), 0

    def encoded_with(self, operator: OperatorSpec) -> Encoded:
        """These questions with the pictures as the operator has them leave the vision tower, ready for its sites.

        Itself where nothing of the operator acts there; then at most more is read in the tower, once. Otherwise the
        pictures are encoded again; those of the latest such operator are kept.
        """
        if self._base is not None:
            return self._base.encoded_with(operator)
        plan = OperatorPlan.of(operator)
        names = {"vision", *plan.tower_features}
        if not plan.acts_in_tower:
            if not names <= set(self.vision_features.features):
                self.vision_features = self._encode_again(None, names | set(self.vision_features.features))[1]
            return self
        sites = tuple(planned.site for planned in plan.tower if planned.active)
        part = operator.model_copy(update={"sites": sites, "name": "", "provenance": {}})
        if self._view is None or self._view[0] != part or not names <= set(self._view[1].vision_features.features):
            view = copy(self)
            view._base, view._view = self, None
            view.features_mnd, view.vision_features = self._encode_again(part, names)
            self._view = part, view
        return self._view[1]

    def seeing(self, operator: OperatorSpec | None, batch: int) -> Callable[[], Any]:
        """A function that encodes the picture of a typical question, so many times at once."""
        picture = int(self.picture_q[self.middle()])
        plan = None if operator is None else OperatorPlan.of(operator)
        names = plan.tower_features if plan else frozenset()
        acts = operator if plan and plan.acts_in_tower else None
        pixels = self._pixels_of(picture, picture + 1).expand(batch, -1, -1, -1).contiguous()
        return lambda: encode_images(self.model, pixels, acts, names)

    def _pixels_of(self, start: int, stop: int) -> Tensor:
        """As the tower takes them (m, 3, side, side)."""
        pixels = torch.from_numpy(self._rendered(start, stop)).to(self.model.device)
        return pixels.permute(0, 3, 1, 2).to(self.model.dtype) / 127.5 - 1

    def _encode_again(self, operator: OperatorSpec | None, names: Collection[str]) -> tuple[Tensor, VisionFeatures]:
        if self._pixels is None:
            self._pixels = self._rendered(0, self.pictures)
        return self._encode_pictures(operator, names)

    def _first_encoding(self) -> tuple[Tensor, VisionFeatures]:
        """What the tower says of the pictures, from this machine's cache if it was asked before."""
        adapter = self.adapter
        weights = adapter.family.sees_with(adapter.parts)
        key = cache.key_of(weights, SCENE_VERSION, self.split, self.pictures, self.config)
        cached = cache.load(key, self._forms())
        if cached is None:
            features_mnd, vision = self._encode_pictures(None, ("vision",))
            cache.save(key, {"features": features_mnd, **vision.features})
            return features_mnd, vision
        features_mnd = cached.pop("features").to(self.home)
        return features_mnd, VisionFeatures({name: value.to(self.model.device) for name, value in cached.items()})

    def _forms(self) -> dict[str, cache.Form]:
        """The types and shapes of what the tower says of the pictures."""
        tokens, weight = self.config.grid**2, self.model.get_input_embeddings().weight
        return {
            "features": (self.model.dtype, (self.pictures, tokens, weight.shape[1])),
            "vision": (torch.float32, (self.pictures, tokens)),
        }

    @torch.no_grad()
    def _encode_pictures(self, operator: OperatorSpec | None, names: Collection[str]) -> tuple[Tensor, VisionFeatures]:
        features, sights = [], []
        for start in range(0, self.pictures, 64):
            pixels = self._pixels_of(start, min(start + 64, self.pictures))
            pictures = encode_images(self.model, pixels, operator, names)
            features.append(pictures[0].to(self.home))
            sights.append(pictures[1])
        return torch.cat(features), concatenated(sights)

    def _rendered(self, start: int, stop: int) -> np.ndarray:
        if self._pixels is not None:
            return self._pixels[start:stop]
        return np.stack([render(make_scene(self.split, k, self.config)) for k in range(start, stop)])
