"""Optuna stores that an earlier version wrote: what they hold under former names is renamed in place, once.

Optuna offers no way to rename a parameter, and one that is called otherwise would be lost on its samplers; so the
tables themselves are changed, in one transaction. Everything else that a store holds is read under either name.
"""

from __future__ import annotations

from typing import Any

import optuna
from sqlalchemy import Connection, Engine, text

from eos_platform.common import strict_json
from eos_platform.common.former_names import SEARCH, current_space


def current_identity(identity: Any) -> Any:
    """What makes a study itself (``StudyFile.identity``), under today's names."""
    if not isinstance(identity, dict):
        return identity
    renamed = {"search": SEARCH.current(identity.get("search", {})), "space": current_space(identity.get("space", {}))}
    return {name: renamed.get(name, value) for name, value in identity.items()}


def rename_parameters(study: optuna.Study, engine: Engine) -> int:
    """Rename the parameters of the study's trials, those of queued ones too; how many rows were changed."""
    with engine.begin() as connection:
        return _asked(connection, study._study_id) + _queued(connection, study._study_id)


def _asked(connection: Connection, study: int) -> int:
    """Parameters of trials that have begun: their names, and the choices of categorical ones."""
    rows = connection.execute(
        text(
            "SELECT p.param_id, p.param_name, p.distribution_json FROM trial_params p"
            " JOIN trials t ON t.trial_id = p.trial_id WHERE t.study_id = :study"
        ),
        {"study": study},
    )
    changed = 0
    for number, name, distribution in rows.all():
        new = {"name": SEARCH.name(name), "distribution": _distribution(name, distribution)}
        if (new["name"], new["distribution"]) == (name, distribution):
            continue
        connection.execute(
            text(
                "UPDATE trial_params SET param_name = :name, distribution_json = :distribution WHERE param_id = :number"
            ),
            {**new, "number": number},
        )
        changed += 1
    return changed


def _distribution(name: str, written: str) -> str:
    data = strict_json.loads(written, f"the distribution of {name}")
    choices = data.get("attributes", {}).get("choices")
    if choices is None or (current := SEARCH.value(name, choices)) == choices:
        return written
    return strict_json.dumps({**data, "attributes": {**data["attributes"], "choices": current}})


def _queued(connection: Connection, study: int) -> int:
    """Parameters that queued trials will have."""
    rows = connection.execute(
        text(
            "SELECT a.trial_system_attribute_id, a.value_json FROM trial_system_attributes a"
            " JOIN trials t ON t.trial_id = a.trial_id WHERE t.study_id = :study AND a.key = 'fixed_params'"
        ),
        {"study": study},
    )
    changed = 0
    for number, written in rows.all():
        params = strict_json.loads(written, "the parameters of a queued trial")
        current = SEARCH.current(params)
        if current == params:
            continue
        connection.execute(
            text("UPDATE trial_system_attributes SET value_json = :value WHERE trial_system_attribute_id = :number"),
            {"value": strict_json.dumps(current), "number": number},
        )
        changed += 1
    return changed
