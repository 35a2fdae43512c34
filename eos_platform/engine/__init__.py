"""The outer study: the Optuna store, the Ray Tune driver, resume, and the comparison at the end."""
