"""The front as a line in MLflow: a run of its own, whose metrics have one step for each point.

MLflow draws lines through one run's steps only, and no interval bars. So the points of the front, by rising cost, are
steps of one run, with the ends of their intervals as further metrics; the view of the front draws them over the cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from eos_platform.protocols import Objective
from eos_platform.tracking import names
from eos_platform.tracking.client import search_runs


def lines_of(axes: Sequence[Objective]) -> tuple[str, ...]:
    """Metrics of the lines: the front, and where the objective is accuracy, the ends of its intervals."""
    objective = names.heldout(axes[0].metric)
    ends = (names.HELDOUT_LOW, names.HELDOUT_HIGH) if objective == names.HELDOUT_ACCURACY else ()
    return tuple(names.FRONT_LINE + name for name in (objective, *ends))


def draw_front(
    client: MlflowClient,
    experiment_id: str,
    parent: str,
    uid: str,
    points: Iterable[Mapping[str, Any]],
    axes: Sequence[Objective],
) -> str | None:
    """Write the front's run, in the place of the one of an earlier comparison; its id, None where there is no front.

    Args:
        parent: the study's run.
        uid: of the study.
        points: the front's operators, as ``Recorder.point`` takes them.
        axes: the study's objectives.
    """
    y, x = axes[:2]
    columns = {x.metric: names.heldout(x.metric), y.metric: names.FRONT_LINE + names.heldout(y.metric)}
    if y.metric == names.ACCURACY:
        columns |= {f"accuracy_{end}": f"{names.FRONT_LINE}{names.HELDOUT_ACCURACY}_{end}" for end in ("low", "high")}
    rows = [point for point in points if all(point.get(column) is not None for column in columns)]
    for old in search_runs(client, experiment_id, f"tags.`{names.FRONT_OF}` = '{uid}'"):
        client.delete_run(old.info.run_id)
    if not rows:
        return None
    tags = {
        names.PARENT: parent,
        names.KIND: "front",
        names.FRONT_OF: uid,
        names.SHOWN: uid,
        names.ORDER: names.ORDERS["front"],
        names.FAMILY: "searched",
        names.COLOR: names.COLORS["searched"],
    }
    run = client.create_run(experiment_id, tags=tags, run_name="front").info.run_id
    now = int(time.time() * 1000)
    ordered = sorted(rows, key=lambda row: float(row[x.metric]))
    metrics = [
        Metric(name, float(row[column]), now, step)
        for step, row in enumerate(ordered)
        for column, name in columns.items()
    ]
    for start in range(0, len(metrics), 1000):  # as many as MLflow takes at a time
        client.log_batch(run, metrics=metrics[start : start + 1000])
    client.set_terminated(run, "FINISHED")
    return run
