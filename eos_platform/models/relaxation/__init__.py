"""Relaxed (differentiable) operators on a model, and traces of which tokens they keep."""
