"""What a search or an evaluation works on: a model and questions for it, whatever its family and the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from eos_platform.costs.flops import DecoderShape, VisionShape, shape_of, vision_shape_of, whole_model_ratio
from eos_platform.costs.profiled_flops import counted_flops
from eos_platform.models.adapters.adapter import Adapter, adapter_of
from eos_platform.models.adapters.target import check_fits, parts_of, target_of
from eos_platform.operators.spec import FEATURES, OperatorSpec, Target
from eos_platform.tasks.batch import EncodedQuestions
from eos_platform.tasks.scenes import Split

FROM_TOWER = ("vision",)  # features that are read inside the vision tower


class Subject(ABC):
    """A frozen model, and questions of a task.

    Attributes:
        name: of the model.
        task: whose questions they are.
        model: frozen.
    """

    name: str
    task: str
    model: Any

    def __repr__(self) -> str:
        target, where = self.target, getattr(self.model, "device", "unknown device")
        size = f"{target.layers} decoder layers, {target.tokens} visual tokens"
        family = getattr(self.model.config, "model_type", type(self.model).__name__)
        return f"{type(self).__name__}: {self.name} ({family}, {size}) on {self.task}, {where}"

    @cached_property
    def adapter(self) -> Adapter:
        """The model as its family is to be met."""
        return adapter_of(self.model)

    @cached_property
    def target(self) -> Target:
        """What operators for this model refer to."""
        return target_of(self.model, self.name)

    @cached_property
    def shape(self) -> DecoderShape:
        """Sizes of the decoder."""
        return shape_of(self.model)

    @cached_property
    def vision_shape(self) -> VisionShape:
        """Sizes of the vision tower."""
        return vision_shape_of(self.model)

    @property
    def features(self) -> tuple[str, ...]:
        """What a search may weigh tokens by."""
        return FEATURES

    @property
    @abstractmethod
    def skills(self) -> tuple[str, ...]:
        """What the task's questions are about."""

    @property
    @abstractmethod
    def text_tokens(self) -> int:
        """Tokens of a typical prompt that are not visual; the compute ratio is taken at this length."""

    def check(self, operator: OperatorSpec) -> None:
        """Refuse an operator that cannot be at work on the model.

        Raises:
            EosError: why.
        """
        check_fits(parts_of(self.model), operator)

    def whole_ratio(self, operator: OperatorSpec) -> float | None:
        """The compute ratio with vision tower and projector on both sides; None: their cost is not known."""
        if not self.adapter.capabilities.tower:
            return None
        return float(whole_model_ratio(operator, self.shape, self.vision_shape, self.text_tokens))

    def counted_flops(self, operator: OperatorSpec | None) -> int:
        """FLOPs as counted while the language model's prefill of a typical prompt runs."""
        return counted_flops(self.model, operator, self.text_tokens)

    def subsets(self, split: Split, questions: int) -> Mapping[str, np.ndarray]:
        """Groups beside the skills, which may share questions: (questions,) bool of each, by name."""
        return {}

    @property
    def source(self) -> str:
        """The task as it is chosen, in a line."""
        return self.task

    def few(self, split: Split, questions: int) -> EncodedQuestions:
        """The same as ``encoded``, for a few questions, which take nothing's place that is kept."""
        return self.encoded(split, questions)

    @abstractmethod
    def encoded(self, split: Split, questions: int) -> EncodedQuestions:
        """The first ``questions`` of a split.

        Raises:
            EosError: unknown split.
        """
