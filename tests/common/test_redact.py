"""What opens a store is never shown, wherever in a text it stands."""

import pytest

from eos_platform.common.errors import redact


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://eos:hush@db/optuna",
        "postgresql+psycopg://eos:hu/sh@db:5432/optuna",
        "postgresql://eos:hu@sh@db/optuna",
        "mysql://eos:hu'sh@db/optuna",
        "postgresql://db/optuna?user=eos&password=hush",
        "postgresql://db/optuna?sslpassword=hush&sslmode=require",
        "https://tracking.example/?api_key=hush",
        "s3://bucket/runs?access_key=someone&secret_key=hush",
        "connection failed: host=db user=eos password=hush dbname=optuna",
        "cannot open HTTP://eos:hush@tracking.example: refused",
        "X-Amz-Signature=hush&X-Amz-Date=1",
        "postgresql:/eos:hush@db/optuna",
        "eos:hush@db/optuna",
    ],
)
def test_secrets_go(text):
    shown = redact(text)
    assert "hush" not in shown
    assert "sh@" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/optuna.db",
        "file:///home/me@work/runs",
        "http://mlflow:5000",
        "postgresql+psycopg://db:5432/optuna?sslmode=require",
        "no such table: studies",
        "mail somebody@example.org",
        "models:/quickstart@champion",
        "10:30 @ work",
    ],
)
def test_the_rest_stays(text):
    assert redact(text) == text
