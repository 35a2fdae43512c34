"""The front as a line in MLflow: one run, a step for each point, written anew with every comparison."""

from mlflow import MlflowClient

from eos_platform.objectives import DEFAULT, parse
from eos_platform.tracking import names
from eos_platform.tracking.client import search_runs
from eos_platform.tracking.mlflow_ui.front_line import draw_front, lines_of


def test_points_by_rising_cost_and_nothing_of_the_comparison_before(tmp_path):
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("study", f"file://{tmp_path}/artifacts")
    draw = lambda points: draw_front(client, experiment, "parent", "uid", points, DEFAULT)  # noqa: E731
    ends = lambda share: {"accuracy": share, "accuracy_low": share - 0.1, "accuracy_high": share + 0.1}  # noqa: E731
    first = draw([{"compute_ratio": 0.5, **ends(0.9)}])
    run = draw([{"compute_ratio": 0.4, **ends(0.8)}, {"compute_ratio": 0.1, **ends(0.5)}])
    (left,) = search_runs(client, experiment, f"tags.`{names.SHOWN}` = 'uid'")
    assert left.info.run_id == run != first
    assert names.UID not in left.data.tags  # no operator of the study, for all who read them
    history = {
        name: [(one.step, round(one.value, 3)) for one in client.get_metric_history(run, name)]
        for name in (names.COMPUTE_RATIO, *lines_of(DEFAULT))
    }
    assert list(history.values()) == [
        [(0, 0.1), (1, 0.4)],
        [(0, 0.5), (1, 0.8)],
        [(0, 0.4), (1, 0.7)],
        [(0, 0.6), (1, 0.9)],
    ]
    assert draw([]) is None


def test_other_objectives_have_a_line_without_an_interval():
    axes = parse({"accuracy/count": "maximise", "mean_tokens": "minimise"})
    assert lines_of(axes) == ("front/heldout_accuracy/count",)
