"""The MLflow writer: one experiment a study, a parent run, and a child run for every trial and every baseline.

Only the driver writes. Everything a finished trial's run holds comes from its row in the Optuna store, so a run that
was lost (a killed driver, a server that was down) is written again from there by ``reconcile``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eos_platform.common import strict_json
from eos_platform.dashboards.palette import colour_of
from eos_platform.objectives import DEFAULT, to_json
from eos_platform.protocols import Objective
from eos_platform.tracking import names
from eos_platform.tracking.client import connect as connect
from eos_platform.tracking.client import first_line as first_line
from eos_platform.tracking.client import probe as probe
from eos_platform.tracking.client import search_runs as search_runs
from eos_platform.tracking.descriptions import study_note
from eos_platform.tracking.environment import environment
from eos_platform.tracking.mlflow_ui.front_line import draw_front, lines_of
from eos_platform.tracking.mlflow_ui.views import save_views
from eos_platform.tracking.writer import TrialWriter


class Recorder(TrialWriter):
    """Writes one study's runs: its trials, its baselines and the parent. Arguments: see ``TrialWriter``."""

    def __init__(self, uri: str, study: str, uid: str, artifacts: str | None = None) -> None:
        super().__init__(uri, study, uid, artifacts)
        self._baselines: dict[str, str] | None = None
        self._varied: list[str] = []
        self._model = ""
        self._axes: tuple[Objective, ...] = DEFAULT

    def describe(
        self,
        study_yaml: str,
        note: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
        axes: Sequence[Objective] = DEFAULT,
    ) -> None:
        """What the parent run says of the study; and the experiment's saved views.

        Args:
            note: a line for people.
            params: what can never change (MLflow refuses to change a parameter).
            tags: what a study may be continued with.
            axes: the study's objectives; pages and figures take them from the run.
        """
        self._axes = tuple(axes)
        self._varied = [name.strip() for name in str(params.get("varied", "")).split(",") if name.strip()]
        self._model = str(params.get("model", ""))
        ran = environment()
        self._files(
            self.parent, {names.STUDY_FILE: study_yaml, names.ENVIRONMENT_FILE: strict_json.dumps(ran, indent=2) + "\n"}
        )
        text = study_note(self.study, note, params, tags, ran, self.experiment.experiment_id, self.parent)
        plan = {names.PLAN + name: str(value) for name, value in tags.items()}
        known = self.client.get_run(self.parent).data.params  # of an earlier version, some are under former names
        if "varied" in known:
            params = {name: value for name, value in params.items() if name not in known}
        self._batch(self.parent, params=params, tags={names.NOTE: text, names.OBJECTIVES: to_json(axes), **plan})
        self.views()

    def views(self) -> None:
        """Save the views, with a place for every metric that has been logged."""
        save_views(self.client, self.experiment.experiment_id, self.uid, self._varied, self._logged, self._axes)

    def point(
        self, point: Mapping[str, Any], operator_json: str | None, kept: str | None = None, answers: str = ""
    ) -> None:
        """One operator of the final comparison: on its trial's run, or as a run of its own.

        Args:
            kept: as for ``finish_trial``; a trial's run has it already.
            answers: to the questions about the example pictures (``analysis/explain/overlay.py``), JSON.
        """
        heldout = {
            names.HELDOUT_ACCURACY: point["accuracy"],
            names.HELDOUT_LOW: point["accuracy_low"],
            names.HELDOUT_HIGH: point["accuracy_high"],
            names.QUESTIONS: point["questions"],
            **{names.skill(key[6:]): share for key, share in point.items() if key.startswith("skill:")},
        }
        own = (names.COMPUTE_RATIO, names.MEAN_TOKENS, names.TOKENS_LEFT)
        others = [one.metric for one in self._axes if one.sign < 0 and one.metric not in own and one.metric in point]
        if point["family"] == "searched":
            heldout |= {names.HELDOUT + name: point[name] for name in others}  # beside those of validation questions
            run_id = self._run_of(int(point["trial"]))
            if run_id is not None:
                self._batch(run_id, heldout)
                self._answers(run_id, answers)
            return
        run_id = self._baseline(point)
        measured = {name: point[name] for name in (*own, *others)}
        colour = colour_of(str(point["family"]), point["design"])
        tags = {names.NOTE: self._operator(run_id, operator_json, kept, colour)} if operator_json else {}
        self._batch(run_id, {**heldout, **measured}, tags=tags)
        self._answers(run_id, answers)
        self.client.set_terminated(run_id, "FINISHED")

    def _baseline(self, point: Mapping[str, Any]) -> str:
        """The baseline's run: made once, however often the comparison is done again."""
        if self._baselines is None:
            mine = f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'baseline'"
            self._baselines = {run.info.run_name: run.info.run_id for run in self._search(mine)}
        if point["name"] in self._baselines:
            return self._baselines[point["name"]]
        tags = {
            names.PARENT: self.parent,
            names.UID: self.uid,
            names.KIND: "baseline",
            names.FAMILY: point["family"],
            names.REGIME: point["regime"],
            names.ORDER: names.ORDERS[point["family"]],
            names.SHOWN: self.uid,
            names.COLOR: colour_of(str(point["family"]), point["design"]),
        }
        if point["design"]:
            tags[names.DESIGN] = point["design"]
        run = self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=point["name"])
        self._baselines[point["name"]] = run.info.run_id
        return run.info.run_id

    def register(self, points: Iterable[Mapping[str, Any]], operators: Mapping[int, str]) -> dict[str, str]:
        """Make the front's operators versions of a registered model named after the study.

        Args:
            points: of the final comparison; searched ones are registered, the unreduced one says who is champion.
            operators: the operator JSON of each trial.

        Returns:
            The version behind each alias.
        """
        from eos_platform.tracking.registry import Entry, Registry  # MLflow's model code takes its time to load

        entries, whole = [], None
        for point in points:
            if point["family"] == "unreduced":
                whole = float(point["accuracy"])
            elif point["family"] == "searched" and (run_id := self._run_of(int(point["trial"]))):
                number = int(point["trial"])
                measured = (float(point["accuracy"]), float(point["compute_ratio"]))
                entries.append(Entry(number, run_id, operators[number], *measured))
        registry = Registry(self.client, self.study, self.uid, self.experiment.experiment_id, self.parent, self._model)
        return registry.register(entries, whole)

    def draw_front(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Make the front a line of the view: its points, as ``point`` takes them."""
        self._logged.update(lines_of(self._axes))
        draw_front(self.client, self.experiment.experiment_id, self.parent, self.uid, points, self._axes)

    def summary(self, files: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Files and numbers of the whole study, on the parent run."""
        self._files(self.parent, files)
        self._batch(self.parent, metrics)
        self.views()

    def close(self, status: str) -> None:
        """End the parent run: FINISHED, or KILLED when the study was interrupted."""
        self.client.set_terminated(self.parent, status)
