"""A Ray cluster on this machine, told by lines what to do: ``kill``, ``join``, ``end``. Says its address first.

A head that runs nothing, and nodes that run the searches. A process of its own: Ray reads how nodes know each other
when it is imported.
"""

import random
import sys

from ray.cluster_utils import Cluster

BYTES = 100 << 20


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": BYTES})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=BYTES) for _ in range(2)]
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line == "kill\n":
            cluster.remove_node(nodes.pop(random.randrange(len(nodes))), allow_graceful=False)
        elif line == "join\n":
            nodes.append(cluster.add_node(num_cpus=1, object_store_memory=BYTES))
        else:
            break
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
