"""Views of MLflow's runs page, saved with the experiment: charts that open by one URL.

MLflow keeps a view as an experiment tag ``mlflow.sharedViewState.<key>``: JSON with a name and a compressed state. The
page takes it from ``viewStateShareKey=<key>`` in its address and lists it under "Views". This is how MLflow 3.17 writes
it itself, and is not documented: a server that does not know it shows its usual table.
"""

from __future__ import annotations

import base64
import logging
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from eos_platform.common import strict_json
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective
from eos_platform.tracking import names
from eos_platform.tracking.mlflow_ui.front_line import lines_of
from eos_platform.tracking.mlflow_ui.links import TRAINING as TRAINING
from eos_platform.tracking.mlflow_ui.links import run_url as run_url

FRONT, VERSUS, HEALTH = "pareto-front", "searched-vs-hand-designed", "search-health"
NAMES = {FRONT: "Pareto front", VERSUS: "Searched vs hand-designed", HEALTH: "Search health"}
LOCAL = "http://127.0.0.1:5000"  # where ``mlflow ui`` listens

# a metric without a chart of its own gets one from MLflow, unless one that is marked deleted stands for it
QUIET = (
    *(name for name in names.MEANING if "<" not in name),
    names.curve(names.RELAXED_ACCURACY),
    names.LOSS,
    names.SOFT_RATIO,
)

log = logging.getLogger(__name__)

_State = dict[str, Any]


def save_views(
    client: MlflowClient,
    experiment_id: str,
    uid: str,
    varied: Sequence[str] = (),
    logged: Collection[str] = (),
    axes: Sequence[Objective] = DEFAULT,
) -> bool:
    """Write the three views; whether MLflow took them (a view is never worth a study).

    Args:
        uid: of the study whose runs they show.
        varied: parameters the study varies, for the parallel coordinates.
        logged: metrics there are: those without a chart here get none from MLflow.
        axes: the study's objectives; the first two are the axes of the front.
    """
    try:
        for key, state in states(uid, varied, logged, axes).items():
            client.set_experiment_tag(experiment_id, names.VIEW + key, _packed(NAMES[key], state))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        log.debug("MLflow did not take the views: %s", error)
        return False
    return True


def view_url(experiment_id: str, key: str = FRONT, server: str = LOCAL) -> str:
    """The address that opens a view as charts."""
    query = f"viewStateShareKey={key}&compareRunsMode=CHART&{TRAINING}"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def states(
    uid: str, varied: Sequence[str] = (), logged: Collection[str] = (), axes: Sequence[Objective] = DEFAULT
) -> dict[str, _State]:
    """What each view shows, as MLflow's page keeps it."""
    y, x, *more = (one.metric for one in axes)
    y_heldout, x_heldout = names.heldout(y), names.heldout(x)
    # few runs, so that a study of thousands opens as fast: MLflow sorts all that it finds
    mine = f"tags.`{names.SHOWN}` = '{uid}'"
    trials = f"tags.`{names.UID}` = '{uid}' and tags.`{names.KIND}` = 'trial'"
    measured = f"{mine} and metrics.`{names.HELDOUT_ACCURACY}` >= 0"
    of_operator = [_tag(names.FAMILY), _tag(names.REGIME), _tag(names.PARETO)]
    heldout = [_metric(x_heldout), _metric(y_heldout)]
    validation = [_metric(x), _metric(y)]
    lines = lines_of(axes)
    quiet = sorted({*QUIET, *logged, *lines})
    return {
        FRONT: _state(
            quiet,
            mine,
            f"tags.`{names.ORDER}`",
            [*of_operator, *heldout, _metric(y)],
            {
                "Held-out: front, designs": [_front(lines, x_heldout, y_heldout)],
                "Held-out: each operator": [_scatter(x_heldout, y_heldout)],
                "Validation: searches": [_scatter(x, y)],
            },
        ),
        VERSUS: _state(
            quiet,
            measured,
            f"metrics.`{names.HELDOUT_ACCURACY}`",
            [*of_operator, _tag(names.DESIGN), *heldout, _metric(names.MEAN_TOKENS)],
            {
                "Held-out accuracy": [
                    _scatter(x_heldout, y_heldout),
                    _scatter(names.MEAN_TOKENS, y_heldout),
                ],
                "Each operator": [_bar(names.HELDOUT_ACCURACY, 60), _bar(names.COMPUTE_RATIO, 60)],
            },
            ascending=False,
        ),
        HEALTH: _state(
            quiet,
            trials,
            # by start time MLflow would fold the trials under their study; the quotes are what its page names it by
            "attributes.`end_time`",
            [_tag(names.STATE), _tag(names.PARETO), _metric(names.SECONDS), *validation],
            {
                "Curves, relaxed form": [_line(names.LOSS), _line(names.SOFT_RATIO)],
                "Settings": [_parallel(varied, [*more, x, y])],
                "Seconds": [_bar(names.SECONDS, 50)],
            },
            ascending=False,
        ),
    }


def _packed(name: str, state: Mapping[str, Any]) -> str:
    text = base64.b64encode(zlib.compress(strict_json.dumps(state, compact=True).encode(), 9)).decode()
    now = int(time.time() * 1000)
    return strict_json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{text}"})


def unpacked(tag: str) -> _State:
    """The state in an experiment tag."""
    packed = strict_json.loads(tag)["state"].removeprefix("deflate;")
    state: _State = strict_json.loads(zlib.decompress(base64.b64decode(packed)).decode())
    return state


def _state(
    quiet: Sequence[str],
    query: str,
    order: str,
    columns: Sequence[str],
    sections: Mapping[str, Sequence[_State]],
    *,
    ascending: bool = True,
) -> _State:
    charts: list[_State] = []
    places = []
    for number, (title, inside) in enumerate(sections.items()):
        place = f"section-{number}"
        places.append(
            {
                "uuid": place,
                "name": title,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
                "columns": min(2, len(inside)),
                "cardHeight": 460,
            }
        )
        charts += [
            {**chart, "uuid": f"{place}-{at}", "metricSectionId": place, "deleted": False, "isGenerated": False}
            for at, chart in enumerate(inside)
        ]
    # a chart has its metric in it only as a line or a bar: scatters and coordinates do not keep MLflow from adding one
    drawn = {chart.get("metricKey") for chart in charts}
    hidden = [
        {**_bar(name, 10), "uuid": f"quiet-{at}", "metricSectionId": "section-0", "deleted": True, "isGenerated": True}
        for at, name in enumerate(quiet)
        if name not in drawn
    ]
    return {
        "searchFilter": query,
        "orderByKey": order,
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [*charts, *hidden],
        "compareRunSections": places,
        "isAccordionReordered": True,
        "hideEmptyCharts": False,
        "useGroupedValuesInCharts": True,
        "groupBy": None,
        "viewMaximized": False,
        "runListHidden": False,
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _tag(name: str) -> str:
    return f"tags.`{name}`"


def _scatter(x: str, y: str) -> _State:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return {"type": "SCATTER", **axes, "runsCountToCompare": 100}


def _front(lines: Sequence[str], x: str, y: str) -> _State:
    """The lines of the run that draws the front, and a mark for each operator, over the cost."""
    return {
        **_line(lines[0]),
        "selectedMetricKeys": [*lines, y],
        "xAxisKey": "metric",
        "selectedXAxisMetricKey": x,
        "xAxisScaleType": "log",
        "useGlobalXaxisKey": False,
        "displayPoints": True,
        "runsCountToCompare": 100,
    }


def _bar(metric: str, runs: int) -> _State:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": runs}


def _line(metric: str) -> _State:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "runsCountToCompare": 20,
    }


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> _State:
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": list(metrics),
        "showAllRuns": True,
        "runsCountToCompare": 100,
    }
