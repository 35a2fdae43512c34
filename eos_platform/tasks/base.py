"""What a search or an evaluation works on: a model and questions for it, whatever its family and the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

from eos_platform.costs.flops import DecoderShape, VisionShape, shape_of, vision_shape_of
from eos_platform.models.adapters.adapter import Adapter, adapter_of
from eos_platform.models.adapters.target import target_of
from eos_platform.operators.spec import FEATURES, Target
from eos_platform.tasks.batch import Asked
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

    @abstractmethod
    def encoded(self, split: Split, questions: int) -> Asked:
        """The first ``questions`` of a split.

        Raises:
            EosError: unknown split.
        """
