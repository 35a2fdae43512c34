"""What the machines of Ray have, and what share of them one search gets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray.tune import PlacementGroupFactory

from eos_platform.common.errors import EosError
from eos_platform.engine.cluster.preflight import Node, NodeWatch, examine, nodes, refuse_unfit
from eos_platform.engine.cluster.ray_session import first_line, token_wanted
from eos_platform.engine.cluster.ray_session import ray_session as ray_session
from eos_platform.engine.schema.study_file import StudyFile


class Share(NamedTuple):
    """What one search gets, and how many run at once."""

    cpu: float
    gpu: float
    concurrent: int  # the most at once; on a cluster more than fit today, as nodes may join
    fits: int = 1  # at once on the machines there are now, within ``concurrent``
    memory: int = 0  # bytes; 0: not counted
    labels: tuple[tuple[str, str], ...] = ()  # of the nodes that may be used

    @property
    def threads(self) -> int:
        return max(1, int(self.cpu))

    @property
    def options(self) -> dict[str, Any]:
        """For ``ray.remote``."""
        options: dict[str, Any] = {"num_cpus": self.cpu, "num_gpus": self.gpu}
        if self.memory:
            options["memory"] = self.memory
        if self.labels:
            options["label_selector"] = dict(self.labels)
        return options

    @property
    def request(self) -> Any:
        """For ``ray.tune.with_resources``."""
        bundle = {"CPU": self.cpu, "GPU": self.gpu, "memory": float(self.memory)}
        bundle = {name: amount for name, amount in bundle.items() if amount}
        if not self.labels:
            return PlacementGroupFactory([bundle])
        return PlacementGroupFactory([bundle], bundle_label_selector=[dict(self.labels)])


def share(study: StudyFile, has: Mapping[str, float] | Sequence[Mapping[str, float]], elastic: bool = False) -> Share:
    """The share of each search.

    Args:
        has: what each node has, as Ray counts it (CPU, GPU, memory), of the nodes whose labels the study wants.
        elastic: nodes may join, so as many searches may run at once as the study wants, not only those that fit now.

    Raises:
        EosError: not even one search fits on any node.
    """
    machines = [has] if isinstance(has, Mapping) else list(has)
    wants = study.resources
    labels = tuple(sorted(wants.labels.items()))
    if not machines:
        named = ", ".join(f"{name}={value}" for name, value in labels)
        raise EosError(f"resources.labels: no node has {named}" if labels else "the cluster has no node")
    gpus = sum(machine.get("GPU", 0.0) for machine in machines)
    if wants.gpu != "auto":
        gpu = float(wants.gpu)
    elif gpus:
        each = math.ceil(study.concurrent / gpus)  # searches on one GPU
        gpu = math.floor(1e4 / each) / 1e4
    else:
        gpu = 0.0
    wanted = {"CPU": (wants.cpu, "cpu", "{:g} cores"), "GPU": (gpu, "gpu", "{:g} GPUs")}
    if wants.memory:
        wanted["memory"] = (wants.memory, "memory", "{:.3g} bytes")
    for resource, (amount, key, words) in wanted.items():
        most = max(machine.get(resource, 0.0) for machine in machines)
        if amount > most:
            where = "there are" if len(machines) == 1 else "no node has more than"
            raise EosError(f"resources.{key}: a search wants {words.format(amount)}, {where} {most:g}")
    fits = sum(_fits({name: amount for name, (amount, _, _) in wanted.items()}, machine) for machine in machines)
    if not fits:
        raise EosError("resources: every node lacks something that a search wants (eos cluster check shows them)")
    fits = min(study.concurrent, fits)
    part = Share(wants.cpu, gpu, study.concurrent if elastic else fits, fits, wants.memory or 0, labels)
    _refuse_unknown_to_ray(part)
    return part


def _refuse_unknown_to_ray(part: Share) -> None:
    """Ray has rules of its own for amounts (nothing finer than 0.0001) and for labels.

    Raises:
        EosError: what it says.
    """
    try:
        ray.remote(**part.options)(_fits)
    except ValueError as error:
        raise EosError(f"resources: {error}") from None


def _fits(wanted: Mapping[str, float], machine: Mapping[str, float]) -> int:
    """How many searches one machine holds; a share of a GPU lies on one GPU."""
    counts = []
    for name, amount in wanted.items():
        has = machine.get(name, 0.0)
        if name == "GPU" and 0 < amount <= 1:
            counts.append(int(has) * int(1 / amount))
        elif amount:
            counts.append(int(has // amount))
    return min(counts)


def machines(labels: Mapping[str, str]) -> list[dict[str, float]]:
    """What each node with these labels has, as Ray counts it.

    Args:
        labels: Ray's selectors: ``value``, ``!value``, ``in(a, b)`` or ``!in(a, b)`` for each label.
    """
    return [dict(node.resources) for node in nodes() if matches_labels(node.labels, labels)]


def matches_labels(has: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a node's labels satisfy selectors."""
    for name, selector in wanted.items():
        negated, words = selector.startswith("!"), selector.removeprefix("!")
        if words.startswith("in(") and words.endswith(")"):
            among = [word.strip() for word in words[3:-1].split(",")]
        else:
            among = [words]
        if (has.get(name) in among) == negated:
            return False
    return True


def preflight(part: Share, states: str, model: str, packages: Collection[str] = ()) -> None:
    """Ask each node that may get a search whether it can run one.

    Args:
        states: folder or URL of the search states.
        model: name or folder of the model; a folder must be on every node.
        packages: of others, whose things the study uses.

    Raises:
        EosError: what is wrong on which node, and its cure.
    """
    folder = model if os.path.isdir(model) else ""
    refuse_unfit(examine(states, folder, token_wanted(), lambda node: _may_search(node, part), packages))


def watch(
    part: Share, states: str, model: str, say: Callable[[str], None], packages: Collection[str] = ()
) -> NodeWatch:
    """The callback that tells of nodes leaving and joining while searches run."""
    folder = model if os.path.isdir(model) else ""

    def newcomer(node_id: str) -> list[Node]:
        mine = lambda node: node.id == node_id and _may_search(node, part)  # noqa: E731
        return examine(states, folder, token_wanted(), mine, packages)

    return NodeWatch(say, newcomer)


def _may_search(node: Node, part: Share) -> bool:
    wanted = {"CPU": part.cpu, "GPU": part.gpu, "memory": float(part.memory)}
    return matches_labels(node.labels, dict(part.labels)) and _fits(wanted, node.resources) > 0


def remotely(function: Callable[..., Any], part: Share) -> Callable[..., Any]:
    """``function`` as a Ray task with a search's share; its process ends with it and gives its memory back."""
    return ray.remote(**part.options, max_calls=1)(function).remote


def outcome(reference: Any) -> Any:
    """A task's result; its error as it was raised there.

    Raises:
        EosError: bad input found by the task, or a worker that died.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EosError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:  # out of memory, a node that left
        raise EosError(f"a worker process died: {first_line(error)}") from None
