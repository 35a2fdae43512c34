"""Operators found in one place used in others: places are a model and a task."""
