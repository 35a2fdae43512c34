"""Cells of a large table: shared out among processes, kept as they come, told in tables."""
