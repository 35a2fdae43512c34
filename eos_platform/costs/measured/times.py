"""Time of the prefill, until the first token, of each further token, and of a whole answer of a batch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.device.predictor import Prediction, Predictor
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.costs.measured.run import decoding, milliseconds, prefilling, seeing_ms
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext


class _Timed:
    """A cost in milliseconds. It has no gradient: a search fits it, or predicts it from a device profile."""

    unit = "ms"
    relative, deterministic = False, False

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> None:
        """None: it is measured."""


class PrefillMs(_Timed):
    """Median milliseconds of a prefill of a batch of typical prompts, by default one."""

    name, label = "prefill_ms", "prefill ms"

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Milliseconds with a deployed operator, on the machine the model is on.

        Raises:
            EosError: there is no model to measure.
        """
        with prefilling(self.name, context, operator) as work:
            return milliseconds(work, context)

    def predictor(self, context: CostContext, profile: DeviceProfile) -> Predictor:
        """From a device profile.

        Raises:
            EosError: it has no such mode or batch size.
        """
        mode, batch = context.setting.mode, context.setting.batch
        return _predictor(context, ((1.0, Prediction.of(profile, mode, batch)),))


class FirstTokenMs(_Timed):
    """Until the first token of every prompt of a batch is known: pictures encoded (eager), and the prefill."""

    name, label = "first_token_ms", "first token ms"

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Milliseconds with a deployed operator.

        Raises:
            EosError: there is no model to measure, or its pictures are not there.
        """
        with prefilling(self.name, context, operator) as work:
            prefill = milliseconds(work, context)
        return seeing_ms(self.name, context, operator) + prefill

    def predictor(self, context: CostContext, profile: DeviceProfile) -> Predictor:
        """From a device profile.

        Raises:
            EosError: it has no such mode or batch size, or no pictures encoded.
        """
        mode, batch = context.setting.mode, context.setting.batch
        return _predictor(context, ((1.0, Prediction.of(profile, mode, batch)),), encoding(profile, batch))


class DecodeMs(_Timed):
    """Of one decoding step of a batch, right after the prefill: a token of each prompt."""

    name, label = "decode_ms", "decoding ms"

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Milliseconds with a deployed operator.

        Raises:
            EosError: there is no model to measure.
        """
        with decoding(self.name, context, operator) as work:
            return milliseconds(work, context)

    def predictor(self, context: CostContext, profile: DeviceProfile) -> Predictor:
        """From a device profile.

        Raises:
            EosError: it has no decoding in that mode at that batch size.
        """
        mode, batch = context.setting.mode, context.setting.batch
        return _predictor(context, ((1.0, Prediction.of_decoding(profile, mode, batch)),))


class AnswerMs(_Timed):
    """Of an answer, a batch at once: first token and all further ones, over the number of prompts. Its inverse is the
    throughput, and budgets may be written so: ``20/s``."""

    name, label = "answer_ms", "answer ms"

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Milliseconds with a deployed operator.

        Raises:
            EosError: there is no model to measure, or its pictures are not there.
        """
        first = FirstTokenMs().measure(context, operator)
        further = DecodeMs().measure(context, operator)
        return (first + context.setting.answer * further) / context.setting.batch

    def predictor(self, context: CostContext, profile: DeviceProfile) -> Predictor:
        """From a device profile.

        Raises:
            EosError: it lacks a part.
        """
        mode, batch, tokens = context.setting.mode, context.setting.batch, context.setting.answer
        prefill, step = Prediction.of(profile, mode, batch), Prediction.of_decoding(profile, mode, batch)
        parts = ((1 / batch, prefill), (tokens / batch, step))
        return _predictor(context, parts, encoding(profile, batch) / batch)


def encoding(profile: DeviceProfile, batch: int) -> float:
    """Milliseconds in which a batch's pictures are encoded.

    Raises:
        EosError: the profile does not tell.
    """
    points = profile.of("encode", batch=batch)
    if not points:
        raise EosError(f"the device profile has no pictures encoded at batch {batch}")
    return statistics.median(point.time for point in points)


def _predictor(context: CostContext, parts: tuple[tuple[float, Prediction], ...], more: float = 0.0) -> Predictor:
    return Predictor(parts, context.shape, context.target.tokens, context.text_tokens, more)
