"""Questions about pictures, for any model."""

from eos_platform.protocols import Example
from eos_platform.tasks.examples.encoded import EncodedExamples, Judge
from eos_platform.tasks.examples.subject import Examples

__all__ = ["EncodedExamples", "Example", "Examples", "Judge"]
