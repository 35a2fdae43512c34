"""A comparison in MLflow: one experiment, a parent run with the report, a run for every operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eos_platform.dashboards.palette import colour_of
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import names
from eos_platform.tracking.recorder import Recorder

METRICS = {
    "accuracy": names.HELDOUT_ACCURACY,
    "questions": names.QUESTIONS,
    "compute_ratio": names.COMPUTE_RATIO,
    "mean_tokens": names.MEAN_TOKENS,
    "tokens_left": names.TOKENS_LEFT,
    "validation": names.ACCURACY,  # what a search, too, calls its accuracy
    "samples": names.SAMPLES,
    "counted_flops": names.COUNTED_FLOPS,
    "whole_model_ratio": names.WHOLE_MODEL_RATIO,
    "prefill_ms": names.PREFILL_MS,
    "memory_mb": names.MEMORY_MB,
}


class ComparisonLog(Recorder):
    """Writes one comparison; writing it again brings its runs up to date instead of adding to them."""

    def operators(self, records: Iterable[Mapping[str, Any]], intervals: Mapping[str, tuple[float, float]]) -> int:
        """A run for every record that was measured: how many.

        Args:
            records: of the results folder.
            intervals: of the accuracy, by the record's key.
        """
        mine = self._search(f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'operator'")
        runs = {run.data.tags[names.KEY]: run.info.run_id for run in mine}
        written = 0
        for record in records:
            if record["status"] != "measured":
                continue
            run_id = runs.get(record["key"]) or self._begin(record)
            metrics = {metric: record[name] for name, metric in METRICS.items() if record.get(name) is not None}
            low, high = intervals[record["key"]]
            skills = {names.skill(skill): share for skill, share in record["per_skill"].items()}
            self._batch(run_id, {**metrics, names.HELDOUT_LOW: low, names.HELDOUT_HIGH: high, **skills})
            if record["operator"] is not None:
                spec = OperatorSpec.model_validate(record["operator"])
                colour = colour_of(record["family"], record["design"])
                self._batch(run_id, tags={names.NOTE: self._operator(run_id, spec.to_json(), colour=colour)})
            self.client.set_terminated(run_id, "FINISHED")
            written += 1
        return written

    def _begin(self, record: Mapping[str, Any]) -> str:
        tags = {
            names.PARENT: self.parent,
            names.UID: self.uid,
            names.KIND: "operator",
            names.KEY: record["key"],
            names.FAMILY: record["family"],
            names.REGIME: record["regime"],
            names.ORDER: names.ORDERS[record["family"]],
            names.SHOWN: self.uid,
            names.COLOR: colour_of(record["family"], record["design"]),
        }
        tags |= {names.DESIGN: record["design"]} if record["design"] else {}
        tags |= {names.VARIANT: record["variant"]} if record["variant"] else {}
        run = self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=record["name"])
        params = {"ratio": record["ratio"], "seed": record["seed"], **record["knobs"]}
        self._batch(run.info.run_id, params={name: value for name, value in params.items() if value is not None})
        return run.info.run_id
