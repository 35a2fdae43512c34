"""What people call from Python: ``eos.search`` and ``eos.evaluate`` take a model's name or the model itself."""

from eos_platform.api.calls import evaluate as evaluate
from eos_platform.api.calls import search as search
from eos_platform.api.result import Found as Found
