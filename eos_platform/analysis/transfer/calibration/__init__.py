"""Calibration without labels: an operator from elsewhere, adjusted to a model by that model's own answers."""
