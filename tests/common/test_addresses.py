"""Addresses of stores: what opens them is never shown, and any path makes a sound one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eos_platform.common import addresses
from eos_platform.common.addresses import mask, masked, of_sqlite, redact, remember, secret, sqlite_path
from eos_platform.common.errors import EosError
from eos_platform.engine.schema.study_file import StudyFile, forgets, parse_override


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """What other tests made known is not known here, nor the other way round."""
    monkeypatch.setattr(addresses, "_secrets", {})
    monkeypatch.setattr(addresses, "_known", {})


SECRET = [
    ("postgresql://me:hush@host/db", "postgresql://***@host/db"),
    ("postgresql+psycopg://me:hu%40sh@host:5432/db?sslmode=require", "postgresql+psycopg://***@host:5432/db?sslmode=require"),
    ("postgresql://me:hu sh@host/db", "postgresql://***@host/db"),
    ("postgresql://me:hu\tsh@host/db", "postgresql://***@host/db"),
    ("postgresql://me:hu/sh@host/db", "postgresql://***@host/db"),
    ("postgresql://me:hu?sh#hush@host/db", "postgresql://***@host/db"),
    ("postgresql://me:hu@sh@host/db", "postgresql://***@host/db"),
    ("postgresql://me:hu'sh\"hush@host/db", "postgresql://***@host/db"),
    ("postgresql://hushhush@host/db", "postgresql://***@host/db"),
    ("postgresql://me:hush", "postgresql://me:***"),
    ("postgresql://host/db?user=me&hush=hush", "postgresql://host/db?***&***"),
    ("postgresql://host/db?sslpassword=hush", "postgresql://host/db?***"),
    ("postgresql://host/db?sslmode=hush%3Dhush%26password%3Dhush", "postgresql://host/db?sslmode=***"),
    ("postgresql://host/db?hush", "postgresql://host/db?***"),
    ("postgresql://host/db#hush", "postgresql://host/db#***"),
    ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BUID%3Dme%3BPWD%3Dhush", "mssql+pyodbc:///?***"),
    ("mssql+pyodbc://dsn?Pw=hush", "mssql+pyodbc://dsn?***"),
    ("jdbc:sqlserver://host;user=me;pass=hush", "jdbc:sqlserver://***"),
    ("oracle://me:hush@(DESCRIPTION=(HOST=h))", "oracle://***@***"),
    ("redis://:hush@host:6379/0", "redis://***@host:6379/0"),
    ("rediss://hushhush@host:6379/0", "rediss://***@host:6379/0"),
    ("mongodb+srv://me:hush@host/db", "mongodb+srv://***@host/db"),
    ("https://hushhush@host/api", "https://***@host/api"),
    ("https://hushhushhushhush:x-oauth-basic@host/api", "https://***@host/api"),
    ("https://host/api;hush=hush", "https://host/api;***"),
    ("https://host/password=hush", "https://host/***"),
    ("https://host/%70assword%3Dhush", "https://host/***"),
    ("s3://bucket/runs?access_key=hush&secret_key=hush", "s3://bucket/runs?***&***"),
    ("s3://hush:hush@bucket/runs", "s3://***@bucket/runs"),
    ("s3://bucket/runs?endpoint_override=http%3A%2F%2Fme%3Ahush%40host", "s3://bucket/runs?endpoint_override=***"),
    ("gs://bucket/runs?X-Goog-Signature=hush", "gs://bucket/runs?***"),
    ("abfs://box@account/x?sas=hush", "abfs://***@account/x?***"),
    ("databricks://me:hush@host", "databricks://***@host"),
    ("grpc://me:hush@host:1", "grpc://***@host:1"),
    ("ray://me:hush@host:10001", "ray://***@host:10001"),
    ("sqlite://me:hush@/x.db", "sqlite://***@/x.db"),
    ("sqlite+pysqlcipher://:hush@/x.db?cipher=aes", "sqlite+pysqlcipher://***@/x.db?***"),
    ("sqlite:///x.db?key=hush", "sqlite:///x.db?***"),
    ("me:hush@host/db", "***@host/db"),
    ("//me:hush@host/db", "***@host/db"),
    ("POSTGRESQL://me:hush@host/db", "POSTGRESQL://***@host/db"),
]  # fmt: skip

PLAIN = [
    "sqlite:////home/me@work/a b/100%25/optuna.db",
    "sqlite:///eos-runs/mlflow.db?mode=ro&timeout=5",
    "file:///home/me@work/runs",
    "/data/a:b@c/runs",
    "./a:b@c",
    "models:/quickstart@champion",
    "http://mlflow:5000",
    "http://mlflow:5000/#/experiments/1",
    "http://[::1]:5000/x",
    "postgresql+psycopg://db:5432/optuna?sslmode=require&connect_timeout=10",
    "postgresql://one:5432,two:5433/optuna?target_session_attrs=read-write",
    "postgresql://%2Fvar%2Frun/optuna",
    "s3://bucket/year=2026/runs?region=eu-west-1&endpoint_override=minio:9000&scheme=http",
    "hdfs://name:8020/user/me",
    "auto",
]


@pytest.mark.parametrize(("address", "wanted"), SECRET)
def test_what_opens_a_store_is_masked(address, wanted):
    assert masked(address) == wanted
    assert secret(address)
    assert masked(wanted) == wanted


@pytest.mark.parametrize("address", PLAIN)
def test_what_opens_nothing_is_shown(address):
    assert masked(address) == address == mask(address)
    assert not secret(address)


@pytest.mark.parametrize("address", [address for address, _ in SECRET])
@pytest.mark.parametrize(
    "form",
    [
        "cannot open {}: refused",
        "({}) is away, ask me@work",
        "--set stores.optuna='{}'",
        "first {} and then {}",
        "parts: {quoted}",
        "decoded: {decoded}",
        "{doubled}",
    ],
)
def test_once_known_it_is_masked_in_every_text(address, form):
    from urllib.parse import quote, unquote

    remember(address)
    text = form.format(
        address, address, quoted=quote(address, safe=""), decoded=unquote(address), doubled=address.replace("%", "%%")
    )
    reported = str(EosError(text))
    assert "hush" not in reported.replace("hushhush", "hush") or form.startswith("parts")
    if form.startswith("parts"):  # quoted as a whole: the secret itself stands between escapes
        assert "hush%40" not in reported


@pytest.mark.parametrize("address", [address for address, _ in SECRET if "\t" not in address])
def test_what_nobody_has_said_before_is_masked_where_it_can_be_told(address):
    assert "hush" not in redact(f"cannot open {address}")
    assert "hush" not in redact(address)


def test_a_driver_that_quotes_the_password_alone_is_not_heard():
    remember("mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BSERVER%3Dhost%3BPWD%3D%7Bhush%7D")
    remember("postgresql://me:t%40p@host/db")
    assert mask("login failed with hush on host; {hush}; t@p, t%40p and hushed") == (
        "login failed with *** on host; {***}; ***, *** and hushed"
    )


def test_secrets_of_the_environment_are_masked(monkeypatch):
    monkeypatch.setenv("EOS_STORES_MLFLOW", "https://host/?hush=one-two")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "three-four")
    assert mask("one-two and three-four") == "*** and ***"


def test_short_words_stay():
    remember("postgresql://u:pw@host/db")
    assert mask("u may pw here") == "u may pw here"


@pytest.mark.parametrize("address", [address for address, _ in SECRET])
def test_a_study_file_knows_what_is_secret(address):
    for store in ("optuna", "mlflow", "storage"):
        study = StudyFile.of({"name": "a", "space": {"budget": {"choice": [0.1, 0.2]}}, "stores": {store: address}})
        assert study.secret
        assert "hush" not in study.to_yaml()
        assert address in (study.to_yaml(secrets=True), getattr(study.stores, store))


def test_an_override_that_is_wrong_shows_no_password():
    for text in ("stores.optuna postgresql://me:hu sh@host/db", "stores.mlflow=[postgresql://me:hu sh@host/db"):
        with pytest.raises(EosError, match="--set stores") as caught:
            parse_override(text)
        assert "sh@" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a." * 100_000 + "://x:y z" * 2000, "a-" * 100_000 + "=x", "://" * 50_000, "a:b@" * 50_000]
)
def test_long_texts_take_no_time(text):
    import time

    begun = time.perf_counter()
    redact(text)
    assert time.perf_counter() - begun < 2


NAMES = ["plain", "100%", "a%20b", "what?", "x?mode=memory", "#1", "{braces}", "{SCHEMA_VERSION}", "two words", "ünï"]
NAMES += ["it's", 'a"b', "a@b:c", "a;b=c", "a&b", "+", ":memory:", "\\"]


@pytest.mark.parametrize("name", NAMES)
def test_any_path_makes_an_address(tmp_path, name):
    from sqlalchemy import create_engine

    folder = tmp_path / name
    folder.mkdir()
    address = of_sqlite(folder / "store.db")
    assert sqlite_path(address) == folder / "store.db"
    assert not secret(address)
    assert not forgets(address)
    engine = create_engine(address)
    with engine.begin() as database:
        database.exec_driver_sql("CREATE TABLE a (b)")
    engine.dispose()
    assert [path.name for path in folder.iterdir()] == ["store.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with closing(sqlite3.connect(folder / "store.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]


def test_paths_are_relative_where_they_were():
    assert of_sqlite(Path("eos-runs/mlflow.db")) == "sqlite:///eos-runs/mlflow.db"
    assert sqlite_path("sqlite:///eos-runs/mlflow.db") == Path("eos-runs/mlflow.db")
    for other in (
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://db/optuna",
        "http://x",
        "sqlite",
        "",
        "sqlite://x:y",
    ):
        assert sqlite_path(other) is None
