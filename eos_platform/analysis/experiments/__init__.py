"""Measurements of the search itself, each a command of its own."""
