#!/bin/sh
# Run once by the postgres image, on an empty volume: a database and a role of its own for Optuna and for MLflow.
set -eu
: "${OPTUNA_PASSWORD:?is not set}" "${MLFLOW_PASSWORD:?is not set}"
# psql reads the passwords from its environment, so that no list of processes shows them
psql --set ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv optuna_password OPTUNA_PASSWORD
\getenv mlflow_password MLFLOW_PASSWORD
CREATE ROLE optuna LOGIN PASSWORD :'optuna_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE optuna OWNER optuna;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE optuna, mlflow FROM PUBLIC;
SQL
