"""The operator that a trial found, kept with the trial in the Optuna store.

Its JSON is a system attribute, which dashboards do not show: tens of thousands of characters fill the page of every
trial otherwise. The user attribute of the same name has the digest that MLflow's versions have as a tag.
"""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

from eos_platform.tracking.rows import operator_digest

OPERATOR = "operator"  # user attribute: the digest
TEXT = "eos:operator"  # system attribute: the JSON


def keep_operator(trial: optuna.Trial, text: str) -> None:
    """Write the operator's JSON beside the trial; to be done before the trial is told."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, TEXT, text)
    trial.set_user_attr(OPERATOR, operator_digest(text))


def operator_of(trial: FrozenTrial) -> str | None:
    """The JSON of the operator that the trial found; None: it found none."""
    text: str | None = trial.system_attrs.get(TEXT)
    if text is None:  # earlier versions kept it where the digest is now
        old = trial.user_attrs.get(OPERATOR)
        text = old if isinstance(old, str) and old.lstrip().startswith("{") else None
    return text
