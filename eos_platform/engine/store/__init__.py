"""What a study keeps: the Optuna store, search states, the run folder, and the lease on it."""
