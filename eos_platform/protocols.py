"""The five abstractions that everything else is written against; standard library and torch only.

=================  ==========================================  ===========================================
``ModelAdapter``   how a family of models is met               one file in ``models/adapters``
``Task``           what an answer is, and what it is worth     one file in ``tasks``
``Cost``           what an operator saves                      one file in ``costs``
``Objective``      one axis of a study's front                 named in the study file
``TrialResult``    what one search found                       made by the search, read by the engine
=================  ==========================================  ===========================================

Adapters, tasks and costs may come from other packages (``plugins.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # objectives are read where nobody should wait for torch
    from torch import Tensor

Split = Literal["search", "validation", "heldout"]
SPLITS: tuple[Split, ...] = ("search", "validation", "heldout")
Direction = Literal["maximise", "minimise"]
LARGE = 10_000  # from here on a number has no digits behind its point


@runtime_checkable
class ModelAdapter(Protocol):
    """How one family of vision-language models is met.

    Attributes:
        name: of the family.
        model_types: of the configurations that belong to it.
        relaxable: whether a search can run on it.
    """

    name: str
    model_types: tuple[str, ...]
    relaxable: bool

    def parts(self, model: Any) -> Any:
        """The modules operators act on (``models.adapters.base.Parts``)."""
        ...

    def logits(self, model: Any, hidden_bsd: Tensor) -> Tensor:
        """Logits (b, s, v) of hidden states after the final norm, by the model's own head: scaled or capped alike."""
        ...


@dataclass(frozen=True)
class Example:
    """One question about one picture.

    Attributes:
        image: the picture, as the model's processor takes it, or a function without arguments that opens it.
        question: text, without placeholders.
        answers: right answers (one may be given as plain text), the first of them the one that is taught.
        group: what kind of question it is.
        subsets: further groups it belongs to, such as its difficulty; accuracy is told of each of them, too.
        key: names the picture: examples with the same key share it; empty: told by the identity of ``image``.
    """

    image: Any
    question: str
    answers: tuple[str, ...] | str = ()
    group: str = "all"
    key: str = ""
    subsets: tuple[str, ...] = ()
    content: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.answers, str):
            object.__setattr__(self, "answers", (self.answers,))

    @property
    def answer(self) -> str:
        """The answer that is taught; empty: there is none."""
        return self.answers[0] if self.answers else ""

    def opened(self) -> Any:
        """The picture itself."""
        return self.image() if callable(self.image) else self.image


@runtime_checkable
class Task(Protocol):
    """What accuracy means.

    A task whose attribute ``exact`` is true scores 1 where the answer is written to the last token, and 0 otherwise;
    then nothing needs to be written: one pass that is handed the right answer tells the same. One whose attribute
    ``detail`` is true has a group ``detail`` of the questions that a model answers rightly, but not on pictures of a
    quarter of the pixels. One that draws its pictures may have ``suit(adapter)``: draw them of sizes the model takes.

    Attributes:
        name: of the task, unique.
        version: changes whenever its questions or scores do.
        groups: kinds of question, and subsets, in the order tables show them.
    """

    name: str
    version: str
    groups: tuple[str, ...]

    def examples(self, split: Split, count: int) -> Sequence[Example]:
        """The first ``count`` examples of a split, or all there are, the same at every call; splits share no picture.

        Raises:
            EosError: the split has none.
        """
        ...

    def score(self, output: str, example: Example) -> float:
        """What an answer is worth, from 0 to 1."""
        ...


@dataclass(frozen=True)
class Setting:
    """How a model is run when time, memory and energy are taken.

    Attributes:
        batch: prompts at once.
        mode: ``eager``, or ``captured`` as a CUDA graph; ``compiled`` is known to device profiles alone.
        answer: tokens that are decoded.
        profile: a device profile's file, for a device that is not here; empty: none.
    """

    batch: int = 1
    mode: str = "eager"
    answer: int = 64
    profile: str = ""


@dataclass(frozen=True)
class CostContext:
    """What a cost may ask about, beside the operator.

    Attributes:
        shape: of the decoder (``costs.shapes.DecoderShape``).
        target: what operators for the model refer to (``operators.spec.Target``).
        text_tokens: of a typical prompt, those that are not visual.
        model: itself, or None where only sizes are known.
        prompts: typical prompts as an operator's vision tower leaves them (``models.adapters.prefill.Prefill``), given
            the operator (or None) and their number; None where there is no model.
        setting: how the model is run.
        units: the grids that the visual tokens of a typical prompt are cut into, and how many there are of each; empty:
            ``shape.units`` of the target's.
        sees: given an operator (or None) and a number of prompts, a function that encodes their pictures; None where
            that is not known.
    """

    shape: Any
    target: Any
    text_tokens: int
    model: Any = None
    prompts: Callable[[Any, int], Any] | None = None
    setting: Setting = field(default_factory=Setting)
    units: Sequence[tuple[tuple[int, int], int]] = ()
    sees: Callable[[Any, int], Callable[[], Any]] | None = None


@runtime_checkable
class Cost(Protocol):
    """What an operator saves; less is better.

    Attributes:
        name: the metric's, such as ``compute_ratio`` or ``prefill_ms``; also the entry point's, where there is one.
        unit: of its values, as budgets may be written (``8ms``); empty for a ratio.
        label: as axes and tables show it, its unit last if at all ("prefill ms").
        relative: whether the unreduced model's value is 1; budgets are then at most 1.
        deterministic: whether measuring twice gives the same.
    """

    name: str
    unit: str
    label: str
    relative: bool
    deterministic: bool

    def measure(self, context: CostContext, operator: Any) -> float:
        """The cost of a *deployed* operator (None: of the unreduced model), finite and above 0.

        Args:
            operator: an ``operators.spec.OperatorSpec`` for ``context.target``.

        Raises:
            EosError: it cannot be had here; in one line, why.
        """
        ...

    def relaxed(self, context: CostContext, sites: Sequence[Any], counts: Sequence[Tensor]) -> Tensor | None:
        """The cost at relaxed sites, a scalar that is differentiable in ``counts`` and rises with all of them together;
        at whole counts about what ``measure`` says. None: there is no such form, and a search fits one to measured
        operators (``costs.fit``).

        Args:
            sites: ``operators.relaxed.site.RelaxedSite``, in layer order.
            counts: visual tokens left after each.
        """
        ...


@dataclass(frozen=True)
class Objective:
    """One axis of a study's front.

    Attributes:
        metric: ``accuracy``, ``accuracy/<group>``, a cost's name, ``mean_tokens`` or ``tokens_left``; always of the
            deployed operator.
        direction: which way is better.
        label: as axes and tables show it.
        format: of a value, as Python and d3 both read it.
        worst: the value from which hypervolume counts.
    """

    metric: str
    direction: Direction
    label: str = ""
    format: str = ".3f"
    worst: float | None = None

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.direction == "maximise" else -1

    def show(self, value: float) -> str:
        """A value as text: large ones (bytes of a cache) in full, ``417,792`` and not ``4.178e+05``."""
        return f"{value:,.0f}" if self.format.endswith("g") and abs(value) >= LARGE else format(value, self.format)

    @property
    def ticks(self) -> str:
        """The format of an axis for d3: no zeros at the end; empty, d3's own, where values may be large."""
        return "" if self.format.endswith("g") else f"{self.format[:-1]}~{self.format[-1]}"


def describe_values(objectives: Sequence[Objective], values: Mapping[str, float]) -> str:
    """Values in words: ``accuracy 81.3% at compute ratio 0.210, prefill ms 4.2``."""
    parts = [f"{one.label} {one.show(values[one.metric])}" for one in objectives]
    return f"{parts[0]} at {', '.join(parts[1:])}"


@dataclass(frozen=True)
class TrialResult:
    """What one search found; every number is of the deployed operator.

    Attributes:
        values: by objective, in the study's order.
        scores: accuracy on validation questions, ``accuracy`` and ``accuracy/<group>``.
        costs: by cost, ``mean_tokens`` and ``tokens_left`` among them.
        operator: JSON.
        regime: of the operator.
        samples: questions the search has seen, with repetition.
        seconds: of wall time.
        notes: what else was measured (``relaxed_accuracy``).
    """

    values: Mapping[str, float]
    scores: Mapping[str, float]
    costs: Mapping[str, float]
    operator: str
    regime: str = ""
    samples: int = 0
    seconds: float = 0.0
    notes: Mapping[str, float] = field(default_factory=dict)
