"""Keeping MLflow and Ray's records in agreement with the Optuna store."""
