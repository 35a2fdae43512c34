"""How a study explores: samplers, early stopping, constraints, warm starts, and the bridge to Ray Tune."""
