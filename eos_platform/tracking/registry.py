"""The front's operators as versions of one registered model, and the way back from a version.

The model has the study's name. Aliases: ``champion``, the cheapest operator whose held-out accuracy is within a point
of the unreduced model's (the most accurate where there is none); ``ratio-0_20``, the operator at compute ratio 0.20
(MLflow allows no dot in an alias; ``load_operator`` takes ``@ratio-0.20``, too).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from eos_platform.common import strict_json
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import names
from eos_platform.tracking.descriptions import operator_note
from eos_platform.tracking.environment import environment
from eos_platform.tracking.mlflow_ui.views import run_url
from eos_platform.tracking.reading.operators import STUDY, STUDY_RUN
from eos_platform.tracking.rows import operator_digest

CHAMPION, RATIO = "champion", "ratio-"
WITHIN = 0.01  # of the unreduced model's accuracy
DIGEST = "eos.operator_digest"
NOTE = """Operators on the front of the study `{study}`, one a version; the study's run has the study file and the
front: [run {run}]({link})."""


@dataclass(frozen=True)
class Entry:
    """One operator of the front, measured on held-out questions."""

    trial: int
    run_id: str
    operator: str  # JSON
    accuracy: float
    compute_ratio: float


@dataclass(frozen=True)
class Registry:
    """Writes one study's registered model."""

    client: MlflowClient
    study: str
    uid: str
    experiment: str
    study_run: str
    model: str  # that the operators are for

    def register(self, entries: Sequence[Entry], unreduced: float | None = None) -> dict[str, str]:
        """A version for every entry that has none yet, and the aliases as they are now: the version behind each.

        Args:
            entries: the front.
            unreduced: accuracy of the unreduced model.
        """
        if not entries:
            return {}
        self._model()
        known = {
            (version.tags.get(names.UID), version.tags.get(DIGEST)): version
            for version in self.client.search_model_versions(f"name = '{self.study}'")
        }
        versions = {}
        with TemporaryDirectory() as folder, default_store(self.client.tracking_uri):
            for entry in entries:
                have = known.get((self.uid, operator_digest(entry.operator)))
                versions[entry.trial] = have or self._version(entry, Path(folder) / str(entry.trial))
        wanted = {alias: str(versions[trial].version) for alias, trial in aliases_of(entries, unreduced).items()}
        there = dict(self.client.get_registered_model(self.study).aliases)
        for alias in there:
            if alias not in wanted and (alias == CHAMPION or alias.startswith(RATIO)):
                self.client.delete_registered_model_alias(self.study, alias)
        for alias, version in wanted.items():
            if str(there.get(alias)) != version:
                self.client.set_registered_model_alias(self.study, alias, version)
        return wanted

    def _model(self) -> None:
        link = run_url(self.experiment, self.study_run)
        note = NOTE.format(study=self.study, run=self.study_run, link=link)
        try:
            self.client.create_registered_model(self.study, {STUDY: self.study}, note)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            self.client.update_registered_model(self.study, note)

    def _version(self, entry: Entry, folder: Path) -> ModelVersion:
        operator = OperatorSpec.from_json(entry.operator)
        save(operator, folder, self.model)
        tags = {
            STUDY: self.study,
            names.UID: self.uid,
            names.TRIAL: str(entry.trial),
            STUDY_RUN: self.study_run,
            DIGEST: operator_digest(entry.operator),
            names.REGIME: operator.regime,
            names.COMPUTE_RATIO: f"{entry.compute_ratio:.4f}",
            names.HELDOUT_ACCURACY: f"{entry.accuracy:.4f}",
        }
        logged = self.client.create_logged_model(
            self.experiment, f"trial-{entry.trial}", entry.run_id, tags, model_type="operator"
        )
        self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        for run in (entry.run_id, self.study_run):  # so that both runs show it
            self.client.log_outputs(run, [LoggedModelOutput(logged.model_id, 0)])
        now = int(time.time() * 1000)
        measured = {names.HELDOUT_ACCURACY: entry.accuracy, names.COMPUTE_RATIO: entry.compute_ratio}
        self.client.log_batch(
            entry.run_id, [Metric(key, value, now, 0, logged.model_id) for key, value in measured.items()]
        )
        note = f"Trial {entry.trial} of `{self.study}`: held-out accuracy {entry.accuracy:.1%} at compute ratio "
        note += f"{entry.compute_ratio:.3f}.\n\n"
        made = self.client.create_model_version(
            self.study,
            f"models:/{logged.model_id}",
            entry.run_id,
            tags,
            description=note + operator_note(operator, f"models:/{self.study}@{_alias(entry.compute_ratio)}"),
            model_id=logged.model_id,
        )
        # as mlflow.register_model does: by this the runs' pages name the version
        known = [{"name": self.study, "version": str(made.version)}]
        self.client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: strict_json.dumps(known)})
        return made


@contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Let MLflow's parts that know of no client find the store, for a while."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None  # none: not its default, made absolute
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


def aliases_of(entries: Sequence[Entry], unreduced: float | None) -> dict[str, int]:
    """Which trial each alias means."""
    aliases = {CHAMPION: champion_of(entries, unreduced).trial}
    for entry in sorted(entries, key=lambda entry: entry.accuracy):  # of those at one ratio the most accurate
        aliases[_alias(entry.compute_ratio)] = entry.trial
    return aliases


def champion_of(entries: Sequence[Entry], unreduced: float | None) -> Entry:
    """The cheapest within a point of the unreduced model; the most accurate where there is none."""
    near = [entry for entry in entries if unreduced is not None and entry.accuracy >= unreduced - WITHIN]
    if near:
        return min(near, key=lambda entry: (entry.compute_ratio, -entry.accuracy))
    return max(entries, key=lambda entry: (entry.accuracy, -entry.compute_ratio))


def save(operator: OperatorSpec, folder: Path, model: str) -> None:
    """Write an operator as an MLflow model: its file, and code that runs the base model with it. No pickle.

    Args:
        model: a bundled model's name or a folder, which ``predict`` loads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about type hints of its own
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

        from eos_platform.tracking import pyfunc_model
    file = operator.save(folder.with_suffix(".operator") / names.OPERATOR_FILE)
    version = environment().get("eos-platform")
    columns = Schema([ColSpec("string", "image"), ColSpec("string", "text")])
    limit = ParamSchema([ParamSpec("max_new_tokens", "long", pyfunc_model.LONGEST)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for an example of what goes in; running one would load the model
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(pyfunc_model.__file__)),
            artifacts={pyfunc_model.OPERATOR: str(file)},
            model_config={"model": model, "trust_remote_code": False},
            signature=ModelSignature(columns, Schema([ColSpec("string")]), limit),
            pip_requirements=[f"eos-platform=={version}" if version else "eos-platform"],
        )


def _alias(ratio: float) -> str:
    return f"{RATIO}{ratio:.2f}".replace(".", "_")
