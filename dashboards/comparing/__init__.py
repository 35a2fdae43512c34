"""Figures over several models, tasks or comparisons."""
