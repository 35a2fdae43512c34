"""An operator in the Optuna store: whole for us, a digest for dashboards, and that of earlier versions is found."""

import json

import optuna
import pytest

from eos_platform.engine.store.stored_trial import OPERATOR, keep_operator, operator_of
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking.rows import operator_digest

SITE = SiteSpec(layer=0, keep=9, score={"norm": 1.0}, probe=tuple(0.001 * number for number in range(4096)))
TEXT = OperatorSpec(target=Target(layers=6, grid=(8, 8)), sites=(SITE,)).to_json()


@pytest.fixture
def study(tmp_path):
    return optuna.create_study(storage=f"sqlite:///{tmp_path}/optuna.db", directions=["maximize", "minimize"])


def test_what_a_dashboard_shows_is_short(study):
    trial = study.ask()
    keep_operator(trial, TEXT)
    study.tell(trial, (0.5, 0.2))
    (kept,) = study.get_trials()
    assert operator_of(kept) == TEXT
    assert len(json.dumps(kept.user_attrs)) < 100 < len(TEXT) / 100
    assert kept.user_attrs[OPERATOR] == operator_digest(json.dumps(json.loads(TEXT), sort_keys=True))


def test_a_store_of_an_earlier_version_and_a_trial_without_one(study):
    old, none = study.ask(), study.ask()
    old.set_user_attr(OPERATOR, TEXT)
    assert [operator_of(trial) for trial in study.get_trials()] == [TEXT, None]
    assert none.number == 1
