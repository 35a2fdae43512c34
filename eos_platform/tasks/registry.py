"""Tasks by name, those of other packages too (entry points ``eos_platform.tasks``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eos_platform.plugins import Registry
from eos_platform.protocols import Task
from eos_platform.tasks.benchmarks.choices import Ai2d, MmBench, MmStar, ScienceQa, Seed
from eos_platform.tasks.benchmarks.short import ChartQa, DocVqa, Gqa, InfoVqa, OcrBench, RealWorldQa, TextVqa, VqaV2
from eos_platform.tasks.benchmarks.yes_no import Mme, Pope
from eos_platform.tasks.drawn.crowds import Crowds
from eos_platform.tasks.drawn.fabrics import Fabrics
from eos_platform.tasks.drawn.films import Films
from eos_platform.tasks.files import Files
from eos_platform.tasks.scenes.task import Scenes
from eos_platform.tasks.scenes_v2.task import ScenesV2

Opener = Callable[..., Task]  # the task, given its options by name


def _opener(thing: Any) -> Opener:
    """A class of tasks, a function that makes one, or a task that has no options."""
    if isinstance(thing, type) or not isinstance(thing, Task):
        if not callable(thing):
            raise TypeError(f"expected a task or what makes one, found {type(thing).__name__}")
        return thing
    made: Task = thing
    return lambda: made


TASKS: Registry[Opener] = Registry("task", "tasks", _opener, named=True)
TASKS.register(Scenes.name, Scenes)
TASKS.register(ScenesV2.name, ScenesV2)
TASKS.register(Files.name, Files)
TASKS.register(Crowds.name, Crowds)
TASKS.register(Fabrics.name, Fabrics)
TASKS.register(Films.name, Films)
BENCHMARKS: tuple[Any, ...] = (  # classes of ``Benchmark``
    *(Pope, Gqa, TextVqa, VqaV2, ScienceQa, Mme, MmBench, MmStar, Seed, Ai2d),
    *(ChartQa, DocVqa, InfoVqa, OcrBench, RealWorldQa),
)
for _benchmark in BENCHMARKS:
    TASKS.register(_benchmark.name, _benchmark)
