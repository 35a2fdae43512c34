"""A study of fakes over two raylets on this machine; one is killed while it searches.

``python two_raylets.py FOLDER``, with tests/engine on the path, prints what happened as JSON. A process of its own: Ray
joins one cluster a process.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import engine_fakes as fakes
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from eos_platform.common.errors import EosError
from eos_platform.engine.cluster import resources as cluster
from eos_platform.engine.cluster.preflight import examine
from eos_platform.engine.cluster.ray_session import ray_session
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.study import Study

STORE_BYTES = 100 * 1024 * 1024


def main(folder: Path) -> None:
    node = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 1})
    first = nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES, labels={"zone": "north"})
    found: dict[str, object] = {}
    with ray_session(nodes.address):
        found["told"] = [[dict(one.facts), list(one.wrong)] for one in examine(str(folder / "states"))]
        found["north"] = len(cluster.machines({"zone": "north"}))
        file = fakes.study_file(
            search={"steps": 6, "search_questions": fakes.SLOW},
            space={"budget": {"choice": [0.1, 0.2, 0.4]}},
            trials=3,
            resources={"memory": "50MB"},
            stores={"storage": str(folder / "states")},
            final={"questions": 20, "baselines": []},
        )
        with (folder / "console.txt").open("w") as stream:
            study = Study(
                file,
                runs=folder / "runs",
                address=nodes.address,
                console=Console(file=stream, width=200),
                functions=fakes.FUNCTIONS,
            )
            killer = threading.Thread(target=_kill, args=(nodes, first, Path(study.folder.states)))
            killer.start()
            study.run()
            killer.join()
        with store.open_store(study.folder, create=False) as optuna_study:
            found["states"] = [trial.state.name for trial in optuna_study.get_trials(deepcopy=False)]
            found["numbers"] = [trial.number for trial in stored.finished(optuna_study.get_trials(deepcopy=False))]
        wants = fakes.study_file(resources={"labels": {"zone": "south"}})
        try:
            cluster.share(wants, cluster.machines(wants.resources.labels))
        except EosError as error:
            found["south"] = str(error)
    nodes.shutdown()
    found["said"] = (folder / "console.txt").read_text().splitlines()
    print(json.dumps(found))


def _kill(nodes: Cluster, one: object, states: Path) -> None:
    """Once both nodes search, one raylet dies."""
    end = time.monotonic() + 60
    while len(list(states.glob("trial-*/begun"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    nodes.remove_node(one, allow_graceful=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    assert not ray.is_initialized()
