"""Whether the nodes of a cluster can run a study: the same versions and code, a storage they share, Ray's token.

A tiny task on each node tells (``node_report``), once before a study starts there and again for each newcomer.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eos_platform.common.addresses import masked
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, redact
from eos_platform.engine.cluster.node_report import PLUGIN, reporter
from eos_platform.engine.store import checkpoint_storage as storage

PATIENCE = 60.0  # seconds for a node to start a process and import torch
LOOK = 1.0  # seconds between two looks at the list of nodes
ASKING = 30.0  # seconds a newcomer may take to answer before a search that lost its workers is judged
WANTED = {"python": "Python", "ray": "ray", "torch": "torch"}


@dataclass(frozen=True)
class Node:
    """One node as Ray lists it, and what its task said."""

    id: str
    address: str
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()


def nodes() -> list[Node]:
    """The nodes that are up."""
    return [
        Node(one["NodeID"], one["NodeManagerAddress"], one.get("Resources", {}), one.get("Labels") or {})
        for one in ray.nodes()
        if one["Alive"]
    ]


def query_nodes(
    nodes: Iterable[Node], place: str = "", mark: str = "", model: str = "", timeout: float = PATIENCE
) -> list[Node]:
    """What the task says on each node; one that does not answer has ``wrong`` filled."""
    look = ray.remote(num_cpus=0, max_retries=0)(reporter())
    pending = []
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node.id, soft=False)
        pending.append((node, look.options(scheduling_strategy=here).remote(place, mark, model)))
    end, answers = time.monotonic() + timeout, []
    for node, reference in pending:
        facts: dict[str, str] = {}
        wrong: tuple[str, ...] = ()
        try:
            facts = ray.get(reference, timeout=max(1.0, end - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(reference, force=True)
            wrong = (f"it did not answer within {timeout:.0f} s",)
        except ray.exceptions.RayError as error:
            wrong = (f"nothing runs there: {_line(error)}",)
        answers.append(Node(node.id, node.address, node.resources, node.labels, facts, wrong))
    return answers


def problems_of(node: Node, here: Mapping[str, str], place: str = "", token: bool = True) -> tuple[str, ...]:
    """What is wrong with a node, compared with the driver (``here``)."""
    if node.wrong:
        return node.wrong
    facts, wrong = node.facts, []
    for name, called in WANTED.items():
        if name not in facts:
            wrong.append(f"lacks {called}")
        elif facts[name] != here.get(name):
            wrong.append(f"has {called} {facts[name]}, the driver has {here.get(name)}")
    ours = here["package"]
    cure = f"install the driver's ({ours}) there, or run with --ship-code"
    if "code" not in facts:
        wrong.append(f"lacks eos-platform: {cure}")
    elif facts["code"] != here["code"]:
        theirs = facts["package"]
        other = f"other code under the same version of eos-platform ({ours})"
        wrong.append(f"has {other if theirs == ours else f'eos-platform {theirs}, the driver has {ours}'}: {cure}")
    for key in (key for key in here if key.startswith(PLUGIN)):
        if facts.get(key) != here[key]:
            package, wanted = key.removeprefix(PLUGIN), here[key]
            has = (
                f"has {package} {facts[key]}, the driver has {wanted}" if key in facts else f"lacks {package} {wanted}"
            )
            wrong.append(f"{has}, which the study uses: install the driver's there")
    if place and facts.get("storage") != "shared":
        wrong.append(
            f"does not share the storage {masked(place)} ({redact(facts.get('storage', 'no answer'))}): "
            "set stores.storage to a folder or URL that every node reaches"
        )
    if "model" in here and facts.get("model") != here["model"]:
        state = "has no" if facts.get("model") == "missing" else "has another"
        wrong.append(f"{state} model in the study's model folder: put it at the same path on every node")
    if token and facts.get("token") == "no":
        wrong.append(
            "runs without Ray's token: start it with RAY_AUTH_MODE=token, or allow that: RAY_AUTH_MODE=disabled"
        )
    return tuple(wrong)


def examine(
    place: str = "",
    model: str = "",
    token: bool = True,
    only: Callable[[Node], bool] | None = None,
    packages: Collection[str] = (),
) -> list[Node]:
    """Every node with what is wrong with it.

    Args:
        place: the folder or URL of the search states; not asked about when empty.
        model: a model folder that every node must have; not asked about when empty.
        token: whether nodes must keep Ray's token authentication on.
        only: the nodes to ask.
        packages: of others, that every node must have in the driver's versions.

    Raises:
        EosError: the driver itself cannot write the storage.
    """
    mark = f".eos-{uuid.uuid4().hex}"
    place = place if not place or storage.is_url(place) else str(Path(place).absolute())  # nodes stand elsewhere
    here = reporter()("", "", model)
    here = {key: value for key, value in here.items() if key.removeprefix(PLUGIN) in {key, *packages}}
    examined = [node for node in nodes() if only is None or only(node)]
    with _marked(place, mark):
        answers = query_nodes(examined, place, mark, model)
    return [
        Node(node.id, node.address, node.resources, node.labels, node.facts, problems_of(node, here, place, token))
        for node in answers
    ]


@contextlib.contextmanager
def _marked(place: str, mark: str) -> Any:
    """A file in the storage that every node must see."""
    if not place:
        yield
        return
    storage.put(place, mark, mark)
    there, path = storage.filesystem(place)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            there.delete_file(f"{path}/{mark}")


def refuse_unfit(nodes: Iterable[Node]) -> None:
    """Stop when a node cannot run the study.

    Raises:
        EosError: the first thing wrong, and how many more nodes are.
    """
    unfit = [node for node in nodes if node.wrong]
    if unfit:
        more = f" (and {len(unfit) - 1} more nodes; eos cluster check shows all)" if len(unfit) > 1 else ""
        raise EosError(f"node {unfit[0].address} {unfit[0].wrong[0]}{more}")


class NodeWatch(Callback):
    """Says when nodes leave or join while searches run, and what is wrong with a newcomer.

    Args:
        say: where to say it, such as the progress board's ``note``.
        examined: asks a newcomer; left out, newcomers are only named.
    """

    def __init__(self, say: Callable[[str], None], examined: Callable[[str], list[Node]] | None = None) -> None:
        self.say, self.examined = say, examined
        self.known = {node.id: node.address for node in nodes()}
        self.looked = time.monotonic()
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eos-nodes")
        self.pending: list[Future[None]] = []
        self.unfit: dict[str, str] = {}  # newcomers, by id

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look at the list of nodes, at most once a second."""
        if time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        now = {node.id: node.address for node in nodes()}
        for gone in self.known.keys() - now.keys():
            self.say(f"node {self.known[gone]} left; its searches go on elsewhere")
        for new in now.keys() - self.known.keys():
            self.say(f"node {now[new]} joined")
            if self.examined is not None:
                self.pending.append(self.pool.submit(self._welcome, new))
        self.known = now

    def blamed(self) -> str | None:
        """A newcomer that cannot run searches, and so may have been the end of one; None: every node can."""
        wait(self.pending, timeout=ASKING)
        self.pending = [pending for pending in self.pending if not pending.done()]
        return next((wrong for node, wrong in self.unfit.items() if node in self.known), None)

    def _welcome(self, node_id: str) -> None:
        assert self.examined is not None
        with contextlib.suppress(EosError, ray.exceptions.RayError):
            for node in self.examined(node_id):
                for wrong in node.wrong:
                    self.say(f"node {node.address} {wrong}; a search that lands there stops the study")
                    self.unfit.setdefault(node_id, f"node {node.address} {wrong}")

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks beside its own state; nothing here is worth keeping."""
        return {}


def _line(error: Exception) -> str:
    return error_text(error)
